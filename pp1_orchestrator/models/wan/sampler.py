"""What denoising starts from and goes through: reproducible noise.

A chunk has two streams of noise: for its initial latents and between denoising steps. They depend only on the seed and
the chunk's first latent frame. Every mesh rank draws them on the CPU, so that all devices give the same video.
"""

import hashlib

import torch
from torch import Tensor

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


def noised(latents: Tensor, noise: Tensor, level: float) -> Tensor:
    """(1 − level) · latents + level · noise: what denoising starts from where a chunk starts from an input.

    Of one shape, type and device. With level 1 exactly the noise.
    """
    return torch.lerp(latents, noise, level)
