"""From decoded frames to viewers: pacing, encoding once, WebRTC peers, recording.

Knows nothing of HTTP, process groups or configuration files. Nothing is imported here: importing aiortc takes a second.
"""
