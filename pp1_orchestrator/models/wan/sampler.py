"""Reproducible noise: every chunk's draws depend on the seed and its first latent frame alone.

Two independent streams a chunk: the initial latents, and the noise between denoising steps. Every mesh rank draws both
by itself. They are drawn on the CPU, so that every device gives the same video for the same seed.

Flow-matching noise levels: nominal step → diffusion time → σ.

With shift s, σ(u) = s·u / (1 + (s−1)·u) over u = 1 − j/1000, and t_j = 1000·σ. A "warped" nominal step i means the
shifted time of u = i/1000; a raw one is a time already. σ is that of the nearest t_j.
Source: rectified flow with shift, arXiv:2403.03206; the table is Self-Forcing's with sigma_min 0.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_SEED_STRIDE = 1_000_003
_MAX_SEED = 2**63 - 1
_LINEAR_FRAMES = 500_000  # 35 hours of video; the streams of this many frames fit between two seeds


def _stream(seed: int, start_frame: int, index: int) -> torch.Generator:
    """Stream `index` (0 or 1) of a chunk. Beyond `_LINEAR_FRAMES` the linear formula would give the next seed's."""
    number = (seed * _SEED_STRIDE + start_frame * 2 + index) % _MAX_SEED
    if start_frame > _LINEAR_FRAMES:
        number = int.from_bytes(hashlib.sha256(f"{seed}/{start_frame}/{index}".encode()).digest()[:7])
    return torch.Generator().manual_seed(number)


def initial_noise(seed: int, start_frame: int, shape: tuple[int, ...]) -> Tensor:
    """float32 noise at σ = 1 for the chunk that starts at latent frame `start_frame`."""
    return torch.randn(shape, generator=_stream(seed, start_frame, 0))


def renoise_stream(seed: int, start_frame: int) -> torch.Generator:
    """The generator of the noise between denoising steps."""
    return _stream(seed, start_frame, 1)


TRAIN_STEPS = 1000


def shifted_sigma(u: Tensor, shift: float) -> Tensor:
    return shift * u / (1 + (shift - 1) * u)


@dataclass(frozen=True, slots=True)
class NoiseStep:
    """One denoising step: the model's timestep input and the noise level of its latents."""

    timestep: float
    sigma: float


class FlowSchedule:
    """Converts nominal steps to timesteps and noise levels, in float64."""

    def __init__(self, shift: float = 1.0, warp: bool = False) -> None:
        u = 1 - torch.arange(TRAIN_STEPS, dtype=torch.float64) / TRAIN_STEPS
        self._sigmas = shifted_sigma(u, shift)
        self._times = TRAIN_STEPS * self._sigmas
        self._shift, self._warp = shift, warp

    def step(self, nominal: float) -> NoiseStep:
        """Nominal 1…1000 -> its timestep, and σ at the nearest entry of the table."""
        time = float(nominal)
        if self._warp:
            time = TRAIN_STEPS * float(
                shifted_sigma(torch.tensor(nominal / TRAIN_STEPS, dtype=torch.float64), self._shift)
            )
        index = int((self._times - time).abs().argmin())
        return NoiseStep(timestep=time, sigma=float(self._sigmas[index]))

    def steps(self, nominal: Sequence[float]) -> list[NoiseStep]:
        """`step` of each. Raises ValueError if the list is empty or noise does not fall from step to step."""
        out = [self.step(n) for n in nominal]
        if not out or any(a.sigma <= b.sigma for a, b in itertools.pairwise(out)):
            raise ValueError(f"denoising steps {list(nominal)} must fall from step to step, and there must be one")
        return out
