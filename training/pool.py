"""A pool of encoded clips with their captions: what teacher forcing learns from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training import world
from training.latents import LatentSpace
from training.model import CHUNK_FRAMES, LATENT_SHAPE
from training.scripts import Scripts, difficulty, pick_tokens

_CLIPS_AT_ONCE = 100
_SWITCH_WEIGHT = 1.5  # of a new caption's first chunk


@dataclass(slots=True)
class ClipBatch:
    """B clips of n chunks: latents [B, n·F, c, h, w], tokens [B, 2, L], segments [B, n] which caption each chunk has,
    weight [B, n] of each chunk in the loss."""

    latents: Tensor
    tokens: Tensor
    segments: Tensor
    weight: Tensor


def chunk_attributes(attributes: Tensor, segments: Tensor) -> Tensor:
    """Attributes of every chunk: [N, 2, 6] by segments [N, n] -> [N, n, 6]."""
    return attributes.gather(1, segments[..., None].expand(-1, -1, attributes.shape[-1]))


def chunk_weight(attributes: Tensor, segments: Tensor, before: Tensor) -> Tensor:
    """Weight of every chunk [N, n]: hard scenes and first chunks of a new caption take more. before [N]: which caption
    the chunk before the clip had."""
    weight = difficulty(chunk_attributes(attributes, segments))
    switched = segments != torch.cat([before[:, None], segments[:, :-1]], 1)
    return torch.where(switched, _SWITCH_WEIGHT * weight, weight)


class Pool:
    """Clips of `chunks` chunks, latents in half precision on the device; noise until `encode` is called."""

    def __init__(self, scripts: Scripts, chunks: int, device: torch.device) -> None:
        shape = (len(scripts.switch), chunks * CHUNK_FRAMES, *LATENT_SHAPE)
        self._latents = torch.randn(shape, dtype=torch.float16, device=device)
        self._scripts, self._chunks = scripts.to(device), chunks
        self._segments = self._scripts.segments(chunks)
        self._weight = chunk_weight(self._scripts.attributes, self._segments, self._segments[:, 0])
        # A clip that does not start as a stream does has no way to know its first chunk.
        self._weight[:, 0] *= self._scripts.canonical

    @torch.no_grad()
    def encode(self, space: LatentSpace) -> None:
        """Draw and encode a clip for every script, in place."""
        count, device = len(self._latents), self._latents.device
        start = world.canonical_state(count, device).where(self._scripts.canonical, world.random_state(count, device))
        per_chunk = chunk_attributes(self._scripts.attributes, self._segments)
        poses = world.simulate(start, per_chunk[:, world.chunk_of_frame(self._chunks)])
        for first in range(0, count, _CLIPS_AT_ONCE):
            frames, _ = world.draw_clip(poses.rows(first, first + _CLIPS_AT_ONCE))
            self._latents[first : first + _CLIPS_AT_ONCE] = space.encode(frames)

    def batch(self, count: int) -> ClipBatch:
        """`count` random clips, each caption in one of its paraphrases."""
        rows = torch.randint(0, len(self._latents), (count,), device=self._latents.device)
        tokens = pick_tokens(self._scripts.tokens[rows])
        return ClipBatch(self._latents[rows].float(), tokens, self._segments[rows], self._weight[rows])
