"""Compiles a decoder, and runs it in every way a stream will, so that no chunk waits for the compiler."""

from __future__ import annotations

from pp1_orchestrator.models.vae.base import DecodeState, StreamingDecoder
from pp1_orchestrator.models.vae.stacked import StackedDecoder
from pp1_orchestrator.models.vae.taehv import TinyDecoder


def compile_decoder(
    decoder: StreamingDecoder, frames: int, size: tuple[int, int], in_parts: bool, backend: str = "inductor"
) -> None:
    """Compile a decoder that can be, and run it once in every way a stream of chunks will.

    frames: latent frames a chunk; size: their height and width; in_parts: whether a chunk is decoded in two goes.
    backend: torch.compile's. Not for float32 on a CPU: oneDNN's kernels, called by name, can't be traced.
    """
    if not isinstance(decoder, StackedDecoder | TinyDecoder):
        return
    decoder.compile(dynamic=False, backend=backend)
    state = DecodeState()
    latents = decoder.mean.new_zeros((frames, decoder.mean.shape[1], *size))
    for _ in range(2):
        decoder.decode(latents, state)
    if in_parts:
        for part in (latents[:1], latents[1:]):
            decoder.decode(part, state)
