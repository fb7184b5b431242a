"""Streaming decode of Wan latents: the decoder's history is a value that the caller keeps, never part of the module."""
