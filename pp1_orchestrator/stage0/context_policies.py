"""How the generator's KV cache gets clean history before the next chunk: policies, and the latents that they use."""

from abc import ABC, abstractmethod
from collections import deque
from typing import ClassVar

import torch
from torch import Tensor

from pp1_orchestrator.transport.cuda_streams import StreamFence


class LatentHistory:
    """The latents of an epoch's newest chunks, F latent frames each. kept: how many chunks.

    The session's thread fills it. The anchor comes from the thread that decodes, before the next plan is made.
    """

    def __init__(self, kept: int) -> None:
        self.newest: deque[Tensor] = deque(maxlen=max(1, kept))
        """[1, F, z, h, w] of each chunk, oldest first."""
        self._anchor: tuple[Tensor, StreamFence] | None = None
        self.begin()

    def begin(self) -> None:
        """Forget everything: a new epoch begins."""
        self.newest.clear()
        self._anchor = None
        self.first = torch.empty(0)
        """The epoch's first latent frame, the only one that stands for a single pixel frame, [1, 1, z, h, w]."""
        self.chunks = 0
        """Finished chunks of this epoch."""

    def add(self, latents: Tensor) -> None:
        """The next finished chunk, [1, F, z, h, w]."""
        self.newest.append(latents)
        if not self.chunks:
            self.first = latents[:, :1]
        self._anchor = None
        self.chunks += 1

    def set_anchor(self, latent: Tensor) -> None:
        """The newest chunk's anchor frame, encoded again, [1, z, h, w]."""
        self._anchor = latent[None], StreamFence(latent.device)

    @property
    def anchor(self) -> Tensor:
        """The newest chunk's anchor, [1, 1, z, h, w]. Exists where the policy's `needs_pixels` is set."""
        assert self._anchor is not None, "the anchor of the newest chunk has not been encoded"
        latent, fence = self._anchor
        fence.wait([latent])
        return latent


class ContextPolicy:
    """How the cache gets its history."""

    clean_pass: ClassVar[bool] = False
    """One pass at t = 0 over the finished chunk, after its result has left."""
    rebuilds: ClassVar[bool] = False
    """The next plan needs the newest chunk's latents: no chunk can be planned while another one is with the mesh."""
    needs_pixels: ClassVar[bool] = False
    """The next plan needs the newest chunk's anchor frame."""

    def frames(self, history: LatentHistory) -> Tensor | None:
        """What the cache is rebuilt from before the next chunk, [1, F, z, h, w]; None leaves it as it is."""
        return None


class NoContext(ContextPolicy):
    """context=none: the cache keeps the keys and values of the last denoising step, whose input is a little noisy."""


class CleanPass(ContextPolicy):
    """context=clean_pass: after each chunk, a pass at t = 0 writes its clean keys and values (Self-Forcing, LongLive).

    The result is already on its way by then, so the pass overlaps with decoding.
    """

    clean_pass: ClassVar[bool] = True


class Recompute(ContextPolicy, ABC):
    """Before each chunk the cache is rebuilt from the chunk before it (Krea realtime).

    An epoch's first latent frame stands for one pixel frame, every later one for four. A rebuilt cache needs one of the
    first kind, and the policies differ in how they make it. The epoch's first chunk has one.
    """

    rebuilds: ClassVar[bool] = True

    def frames(self, history: LatentHistory) -> Tensor | None:
        if history.chunks < 2:
            return history.newest[-1] if history.chunks else None
        return torch.cat([self._first_frame(history), history.newest[-1][:, 1:]], dim=1)

    @abstractmethod
    def _first_frame(self, history: LatentHistory) -> Tensor:
        """The previous chunk's first latent frame, for the beginning of a cache; [1, 1, z, h, w]."""


class RecomputeLatent(Recompute):
    """context=recompute_latent: the latents as they are. Free, and furthest from what the model was trained on."""

    def _first_frame(self, history: LatentHistory) -> Tensor:
        return history.newest[-1][:, :1]


class RecomputeSynthetic(Recompute):
    """context=recompute_synthetic: the first frame gets the statistics of a latent that stands for one pixel frame.

    Mean and deviation of each channel become those of the epoch's first frame (AdaIN, arXiv:1703.06868). Needs no
    pixels, so nothing waits for the decoder.
    """

    def _first_frame(self, history: LatentHistory) -> Tensor:
        return adain(history.newest[-1][:, :1], history.first)


class RecomputeAnchor(Recompute):
    """context=recompute_anchor: the first frame's last decoded pixel frame is encoded as a single frame.

    Exact, at the price of decoding one latent frame and encoding one pixel frame before the next envelope can leave.
    """

    needs_pixels: ClassVar[bool] = True

    def _first_frame(self, history: LatentHistory) -> Tensor:
        return history.anchor


def adain(frame: Tensor, like: Tensor) -> Tensor:
    """frame with the mean and deviation of each channel of `like`; both [1, 1, z, h, w]."""
    space = (-2, -1)
    centred = frame - frame.mean(space, keepdim=True)
    deviation = centred.square().mean(space, keepdim=True).sqrt().clamp_min(1e-6)
    mean = like.mean(space, keepdim=True)
    wanted = (like - mean).square().mean(space, keepdim=True).sqrt()
    return centred / deviation * wanted + mean
