"""Reproducible noise: every chunk's draws depend on the seed and its first latent frame alone.

Two independent streams a chunk: the initial latents, which rank 0 draws and sends, and the noise between steps, which
every mesh rank draws alike. Drawn on the CPU, so that every device gives the same video for the same seed.
"""

from __future__ import annotations

import torch
from torch import Tensor

_SEED_SPACE = 2**63 - 1


def _stream(seed: int, start_frame: int, index: int) -> torch.Generator:
    generator = torch.Generator()
    generator.manual_seed((seed * 1_000_003 + start_frame * 2 + index) % _SEED_SPACE)
    return generator


def initial_noise(seed: int, start_frame: int, shape: tuple[int, ...]) -> Tensor:
    """float32 noise at σ = 1 for the chunk that starts at latent frame `start_frame`."""
    return torch.randn(shape, generator=_stream(seed, start_frame, 0))


def renoise_stream(seed: int, start_frame: int) -> torch.Generator:
    """The generator of the noise between denoising steps."""
    return _stream(seed, start_frame, 1)
