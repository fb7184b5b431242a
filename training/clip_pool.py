"""A pool of encoded clips with captions, for teacher forcing."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from training import world
from training.latent_space import LatentSpace
from training.model import CHUNK_FRAMES, LATENT_SHAPE
from training.scene_scripts import Scripts, difficulty, pick_tokens

_CLIPS_AT_ONCE = 100
_SWITCH_WEIGHT = 1.5  # loss weight of a new caption's first chunk


@dataclass(slots=True)
class ClipBatch:
    """B clips of n chunks.

    Args:
        latents: [B, n·F, c, h, w].
        tokens: two captions of each clip, [B, 2, L].
        segments: the caption of each chunk, 0 or 1, [B, n].
        weight: of each chunk in the loss, [B, n].
        source: what noise is mixed into, of the shape of `latents`: an input's latents, or the clip's own.
        video: 1 for the clips that have an input, else 0, [B, 1].
    """

    latents: Tensor
    tokens: Tensor
    segments: Tensor
    weight: Tensor
    source: Tensor
    video: Tensor

    def joined(self, other: ClipBatch) -> ClipBatch:
        """The clips of both batches."""
        names = [field.name for field in fields(self)]
        return ClipBatch(*(torch.cat([getattr(self, name), getattr(other, name)]) for name in names))


def chunk_attributes(attributes: Tensor, segments: Tensor) -> Tensor:
    """Selects the attributes of every chunk: [N, 2, 6] by segments [N, n] -> [N, n, 6]."""
    return attributes.gather(1, segments[..., None].expand(-1, -1, attributes.shape[-1]))


def chunk_weight(attributes: Tensor, segments: Tensor, before: Tensor) -> Tensor:
    """Loss weight of every chunk [N, n]: larger for hard scenes and for the first chunk of a new caption.

    `before` [N] is the caption of the chunk before the clip.
    """
    weight = difficulty(chunk_attributes(attributes, segments))
    switched = segments != torch.cat([before[:, None], segments[:, :-1]], 1)
    return torch.where(switched, _SWITCH_WEIGHT * weight, weight)


class Pool:
    """Clips of `chunks` chunks, with float16 latents on the device. They are noise until `encode` is called."""

    def __init__(self, scripts: Scripts, chunks: int, device: torch.device) -> None:
        shape = (len(scripts.switch), chunks * CHUNK_FRAMES, *LATENT_SHAPE)
        self._latents = torch.randn(shape, dtype=torch.float16, device=device)
        self._scripts, self._chunks = scripts.to(device), chunks
        self._segments = self._scripts.segments(chunks)
        self._weight = chunk_weight(self._scripts.attributes, self._segments, self._segments[:, 0])
        # The first chunk of a clip from the middle of a stream can't be predicted.
        self._weight[:, 0] *= self._scripts.canonical

    @torch.no_grad()
    def encode(self, space: LatentSpace) -> None:
        """Draws and encodes a clip for every script, in place."""
        count, device = len(self._latents), self._latents.device
        start = world.canonical_state(count, device).where(self._scripts.canonical, world.random_state(count, device))
        per_chunk = chunk_attributes(self._scripts.attributes, self._segments)
        poses = world.simulate(start, per_chunk[:, world.chunk_of_frame(self._chunks)])
        for first in range(0, count, _CLIPS_AT_ONCE):
            frames, _ = world.draw_clip(poses.rows(first, first + _CLIPS_AT_ONCE))
            self._latents[first : first + _CLIPS_AT_ONCE] = space.encode(frames)

    def batch(self, count: int) -> ClipBatch:
        """Random clips, with a random paraphrase of each caption."""
        rows = torch.randint(0, len(self._latents), (count,), device=self._latents.device)
        tokens = pick_tokens(self._scripts.tokens[rows])
        latents = self._latents[rows].float()
        video = torch.zeros(count, 1, device=latents.device)
        return ClipBatch(latents, tokens, self._segments[rows], self._weight[rows], latents, video)
