"""What a context strategy is: whether a clean pass follows a chunk, and what the cache is rebuilt from before one."""

from __future__ import annotations

from typing import ClassVar, Protocol

from torch import Tensor


class History(Protocol):
    """The current epoch's past, as rank 0 knows it (`stage0.history.StreamHistory`). F latent frames a chunk."""

    @property
    def chunks(self) -> int:
        """Finished chunks of this epoch; the rest may be asked for when there is one."""
        ...

    @property
    def previous(self) -> Tensor:
        """The newest chunk's latents, [1, F, z, h, w]."""
        ...

    @property
    def first(self) -> Tensor:
        """The epoch's first latent frame, the only one that stands for a single picture, [1, 1, z, h, w]."""
        ...

    @property
    def anchor(self) -> Tensor:
        """The newest chunk's anchor picture, encoded anew, [1, 1, z, h, w]. Exists where `needs_pixels` is set."""
        ...


class ContextPolicy(Protocol):
    """How the cache gets its history."""

    clean_pass: ClassVar[bool]
    """One pass at t = 0 over the finished chunk, after its result has left."""
    rebuilds: ClassVar[bool]
    """The next plan needs the newest chunk's latents: no chunk can be planned while another one is with the mesh."""
    needs_pixels: ClassVar[bool]
    """The next plan needs the newest chunk's anchor picture."""

    def frames(self, history: History) -> Tensor | None:
        """What the cache is rebuilt from before the next chunk, [1, F, z, h, w]; None leaves it as it is."""
        ...
