"""Viewers and the live encoder in a process of their own, beside rank 0: both sides, and what they say to each other.

A fault in a codec, or in what handles a stranger's packets, ends that process, and rank 0 starts another one. Nothing
is imported here: the media process imports neither torch nor HTTP, and starts within a second.
"""
