"""Before each chunk the cache is rebuilt from the chunk before it (Krea realtime). Three ways to its first frame.

A stream's first latent frame stands for one picture, every later one for four pictures that follow others. A cache
that starts in the middle of a stream wants the former. The epoch's first chunk can be used as it is, always.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from pp1_orchestrator.strategies.context.base import History


class RecomputeLatent:
    """context=recompute_latent: the latents as they are. Free, and furthest from what the model was trained on."""

    clean_pass: ClassVar[bool] = False
    rebuilds: ClassVar[bool] = True
    needs_pixels: ClassVar[bool] = False

    def frames(self, history: History) -> Tensor | None:
        return history.previous if history.chunks else None


class RecomputeSynthetic:
    """context=recompute_synthetic: the first frame is given the statistics of a latent that stands for one picture.

    Mean and deviation of each channel are moved to those of the epoch's first frame (as in AdaIN, arXiv:1703.06868):
    needs no pixels, so nothing waits for the decoder.
    """

    clean_pass: ClassVar[bool] = False
    rebuilds: ClassVar[bool] = True
    needs_pixels: ClassVar[bool] = False

    def frames(self, history: History) -> Tensor | None:
        if history.chunks < 2:
            return history.previous if history.chunks else None
        previous = history.previous
        return torch.cat([restyled(previous[:, :1], history.first), previous[:, 1:]], dim=1)


class RecomputeAnchor:
    """context=recompute_anchor: the first frame's last picture, as decoded, is encoded as a picture of its own.

    Exact, at the price of decoding one latent frame and encoding one picture before the next envelope can leave.
    """

    clean_pass: ClassVar[bool] = False
    rebuilds: ClassVar[bool] = True
    needs_pixels: ClassVar[bool] = True

    def frames(self, history: History) -> Tensor | None:
        if history.chunks < 2:
            return history.previous if history.chunks else None
        return torch.cat([history.anchor, history.previous[:, 1:]], dim=1)


def restyled(frame: Tensor, like: Tensor) -> Tensor:
    """frame with each channel's mean and deviation of `like`; both [1, 1, z, h, w]."""
    space = (-2, -1)
    centred = frame - frame.mean(space, keepdim=True)
    deviation = centred.square().mean(space, keepdim=True).sqrt().clamp_min(1e-6)
    mean = like.mean(space, keepdim=True)
    wanted = (like - mean).square().mean(space, keepdim=True).sqrt()
    return centred / deviation * wanted + mean
