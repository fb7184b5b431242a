"""Scripted faults of rank 0 itself: a decoder that hangs at a chosen chunk. Once; the chunks after it are good ones."""

from __future__ import annotations

import time

from torch import Tensor

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.models.vae.base import DecodeState, StreamingDecoder
from pp1_orchestrator.runtime.faults import HANG_DECODING


class HangingDecoder:
    """frames: latent ones until then; seconds: how long it hangs."""

    def __init__(self, decoder: StreamingDecoder, frames: int, seconds: float) -> None:
        self._decoder, self._left, self._seconds = decoder, frames, seconds

    @property
    def weight_bytes(self) -> int:
        return self._decoder.weight_bytes

    def decode(self, latents: Tensor, state: DecodeState) -> Tensor:
        if self._left == 0:
            time.sleep(self._seconds)
        self._left -= len(latents)
        return self._decoder.decode(latents, state)


def with_stage0_fault(decoder: StreamingDecoder, settings: Settings) -> StreamingDecoder:
    """Rank 0's decoder, with the fault that it is to have."""
    fault = settings.debug.fault
    if fault.kind != HANG_DECODING:
        return decoder
    return HangingDecoder(decoder, fault.chunk * settings.model.window.chunk, fault.seconds)
