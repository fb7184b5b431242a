"""The latents of an epoch's newest chunks, kept on rank 0 for whoever rebuilds the cache from them. Bounded."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from pp1_orchestrator.transport.lanes import Fence


class StreamHistory:
    """Implements `strategies.context.base.History`. kept: chunks that are remembered.

    Filled by the session's thread; the anchor comes from whoever owns the decoder, before the next plan is made.
    """

    def __init__(self, kept: int) -> None:
        self._newest: deque[Tensor] = deque(maxlen=max(1, kept))
        self._first: Tensor | None = None
        self._anchor: tuple[Tensor, Fence] | None = None
        self.chunks = 0

    def begin(self) -> None:
        """A new epoch has no past."""
        self._newest.clear()
        self._first = self._anchor = None
        self.chunks = 0

    def add(self, latents: Tensor) -> None:
        """The next finished chunk, [1, F, z, h, w]."""
        self._newest.append(latents)
        if self._first is None:
            self._first = latents[:, :1]
        self._anchor = None
        self.chunks += 1

    def set_anchor(self, latent: Tensor) -> None:
        """The newest chunk's anchor, [1, z, h, w]."""
        self._anchor = latent[None], Fence(latent.device)

    @property
    def previous(self) -> Tensor:
        return self._newest[-1]

    @property
    def first(self) -> Tensor:
        assert self._first is not None
        return self._first

    @property
    def anchor(self) -> Tensor:
        assert self._anchor is not None, "the anchor of the newest chunk has not been encoded"
        latent, made = self._anchor
        made.cross([latent])
        return latent

    def all_kept(self) -> Tensor:
        """All that is remembered, oldest first, [1, m, z, h, w]."""
        return torch.cat(list(self._newest), dim=1)
