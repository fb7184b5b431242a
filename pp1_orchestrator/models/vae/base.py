"""What every streaming decoder and every frame encoder offers.

Shapes: F latent frames, T pixel frames, z latent channels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor


@dataclass(slots=True)
class DecodeState:
    """What the decoder remembers of a stream: the last frames of each causal convolution's input.

    A fresh state starts a new stream, whose first latent frame gives one pixel frame instead of four. One owner only.
    """

    entries: list[Tensor | None] = field(default_factory=list)
    started: bool = False

    @property
    def nbytes(self) -> int:
        return sum(t.nbytes for t in self.entries if isinstance(t, Tensor))


@torch.library.custom_op("pp1::remember", mutates_args=())
def clone_channels_last(part: Tensor) -> Tensor:
    """A copy of some frames, channels last.

    An operator of its own: a compiler takes a plain copy for needless and gives a view, which would keep all the frames
    that it is a part of in memory from chunk to chunk.
    """
    return part.clone(memory_format=torch.channels_last)


@clone_channels_last.register_fake
def _(part: Tensor) -> Tensor:
    return torch.empty_like(part, memory_format=torch.channels_last)


class ConvCache:
    """Hands every layer that remembers something its own entry of the state, in the order of the calls."""

    def __init__(self, state: DecodeState) -> None:
        self._state = state
        self._index = 0

    def take(self) -> tuple[int, Tensor | None]:
        index = self._index
        self._index += 1
        if index == len(self._state.entries):
            self._state.entries.append(None)
        return index, self._state.entries[index]

    def keep(self, index: int, frames: Tensor) -> None:
        """A copy of them [n, C, h, w]. None of them are as good as a flag."""
        self._state.entries[index] = clone_channels_last(frames)


class StreamingDecoder(Protocol):
    """Decodes a stream chunk by chunk; the same pixels as decoding all latents at once."""

    @property
    def weight_bytes(self) -> int: ...

    def decode(self, latents: Tensor, state: DecodeState) -> Tensor:
        """Normalised latents [F, z, h, w] -> pixels [T, 3, H, W] in −1…1, T = 4F, or 1 + 4(F−1) for a fresh state."""
        ...


class FrameEncode(Protocol):
    """Encodes single pictures, each as the first of a stream. Keeps nothing from call to call."""

    @property
    def weight_bytes(self) -> int: ...

    def encode(self, frame: Tensor) -> Tensor:
        """Pixels [3, H, W] in −1…1 -> normalised latent [1, z, h, w], float32."""
        ...
