"""From decoded frames to what viewers see: pacing, encoding once, WebRTC peers, recording.

Knows nothing of HTTP, process groups or configuration files. Nothing is imported here: aiortc costs a second.
"""
