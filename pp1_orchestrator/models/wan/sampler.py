"""What denoising starts from and goes through: reproducible noise, and the noise levels of the steps.

A chunk has two streams of noise: for its initial latents and between denoising steps. They depend only on the seed and
the chunk's first latent frame. Every mesh rank draws them on the CPU, so that all devices give the same video.

Noise levels are those of flow matching: with shift s, σ(u) = s·u / (1 + (s−1)·u) over u = 1 − j/1000, t_j = 1000·σ.
Source: rectified flow with shift, arXiv:2403.03206; the table is Self-Forcing's with sigma_min 0.
"""

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

TRAIN_STEPS = 1000
_SEED_STRIDE, _MAX_SEED = 1_000_003, 2**63 - 1
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


def shifted_sigma(u: Tensor, shift: float) -> Tensor:
    return shift * u / (1 + (shift - 1) * u)


@dataclass(frozen=True, slots=True)
class NoiseStep:
    """One denoising step: the model's timestep input and the noise level of its latents."""

    timestep: float
    sigma: float


class FlowSchedule:
    """Converts nominal steps to timesteps and noise levels, in float64.

    warp: a nominal step i means the shifted time of u = i/1000; otherwise it is a time already.
    """

    def __init__(self, shift: float = 1.0, warp: bool = False) -> None:
        u = 1 - torch.arange(TRAIN_STEPS, dtype=torch.float64) / TRAIN_STEPS
        self._sigmas = shifted_sigma(u, shift)
        self._times = TRAIN_STEPS * self._sigmas
        self._shift, self._warp = shift, warp

    def step(self, nominal: float) -> NoiseStep:
        """Nominal 1…1000 -> its timestep, and the σ of the nearest t_j."""
        time = float(nominal)
        if self._warp:
            u = torch.tensor(nominal / TRAIN_STEPS, dtype=torch.float64)
            time = TRAIN_STEPS * float(shifted_sigma(u, self._shift))
        index = int((self._times - time).abs().argmin())
        return NoiseStep(timestep=time, sigma=float(self._sigmas[index]))

    def steps(self, nominal: Sequence[float]) -> list[NoiseStep]:
        """`step` of each. Raises ValueError if the list is empty or noise does not fall from step to step."""
        out = [self.step(n) for n in nominal]
        if not out or any(a.sigma <= b.sigma for a, b in itertools.pairwise(out)):
            raise ValueError(f"denoising steps {list(nominal)} must fall from step to step, and there must be one")
        return out
