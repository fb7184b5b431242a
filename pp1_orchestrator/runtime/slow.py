"""Stages made slower on purpose: wrappers that sleep, so that what overlaps can be seen and measured on any machine."""

from __future__ import annotations

import time

from torch import Tensor

from pp1_orchestrator.mesh.worker import Generator
from pp1_orchestrator.models.vae.base import DecodeState, FrameEncode, StreamingDecoder
from pp1_orchestrator.runtime.around import AroundGenerator


class SlowDecoder:
    """seconds: for each latent frame."""

    def __init__(self, decoder: StreamingDecoder, seconds: float) -> None:
        self._decoder, self._seconds = decoder, seconds

    @property
    def weight_bytes(self) -> int:
        return self._decoder.weight_bytes

    def decode(self, latents: Tensor, state: DecodeState) -> Tensor:
        time.sleep(self._seconds * len(latents))
        return self._decoder.decode(latents, state)


class SlowFrameEncoder:
    """seconds: for one picture."""

    def __init__(self, encoder: FrameEncode, seconds: float) -> None:
        self._encoder, self._seconds = encoder, seconds

    @property
    def weight_bytes(self) -> int:
        return self._encoder.weight_bytes

    def encode(self, frame: Tensor) -> Tensor:
        time.sleep(self._seconds)
        return self._encoder.encode(frame)


class SlowGenerator(AroundGenerator):
    """seconds: for one chunk's denoising."""

    def __init__(self, generator: Generator, seconds: float) -> None:
        super().__init__(generator)
        self._seconds = seconds

    def denoise(
        self, noise: Tensor, steps: tuple[float, ...], start_frame: int, seed: int, bias: float = 1.0
    ) -> Tensor:
        time.sleep(self._seconds)
        return super().denoise(noise, steps, start_frame, seed, bias)
