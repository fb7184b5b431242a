"""What every streaming decoder and frame encoder offers, and the state of a stream.

Shapes: F latent frames, T pixel frames, z latent channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from pp1_orchestrator.typed_torch import custom_op


@dataclass(slots=True)
class DecodeState:
    """A stream's state between chunks: the last frames of each causal convolution's input. Not thread-safe.

    A fresh state starts a stream, whose first latent frame decodes to one pixel frame instead of four.
    """

    entries: list[Tensor | None] = field(default_factory=list[Tensor | None])
    started: bool = False

    @property
    def nbytes(self) -> int:
        return sum(t.nbytes for t in self.entries if isinstance(t, Tensor))


def channels_last(x: Tensor) -> Tensor:
    """The same values, contiguous in channels-last order."""
    return x.contiguous(memory_format=torch.channels_last)


def _empty_channels_last(frames: Tensor) -> Tensor:
    return torch.empty_like(frames, memory_format=torch.channels_last)


@custom_op("pp1::clone_channels_last", _empty_channels_last)
def clone_channels_last(frames: Tensor) -> Tensor:
    """A copy of some frames, channels last.

    It is a custom op because a compiler would replace a plain copy by a view, which keeps all the frames that it is a
    part of in memory until the next chunk.
    """
    return frames.clone(memory_format=torch.channels_last)


class ConvCache:
    """Gives each causal layer its own entry of a stream's state, by the order of the calls."""

    def __init__(self, state: DecodeState) -> None:
        self._state = state
        self._index = 0

    def slot(self) -> tuple[int, Tensor | None]:
        """The index of the next entry, and the frames stored there, if any."""
        index = self._index
        self._index += 1
        if index == len(self._state.entries):
            self._state.entries.append(None)
        return index, self._state.entries[index]

    def store(self, index: int, frames: Tensor) -> None:
        """Stores a copy of frames [n, C, h, w]. n may be 0, as a mark that the layer has been called."""
        self._state.entries[index] = clone_channels_last(frames)


class LatentModule(nn.Module):
    """A module that knows the mean and deviation of its latents, as buffers [1, z, 1, 1]."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, device=device).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, device=device).view(1, -1, 1, 1))

    @property
    def weight_bytes(self) -> int:
        return sum(p.nbytes for p in self.parameters())


class StreamingDecoder(Protocol):
    """Decodes a stream chunk by chunk. The pixels are those of decoding all latents in one call."""

    @property
    def weight_bytes(self) -> int: ...

    def decode(self, latents: Tensor, state: DecodeState) -> Tensor:
        """Normalised latents [F, z, h, w] -> pixels [T, 3, H, W] in −1…1, T = 4F, or 1 + 4(F−1) for a fresh state."""
        ...


class FrameEncoder(Protocol):
    """Encodes single frames, each as the first of a stream. Has no state."""

    @property
    def weight_bytes(self) -> int: ...

    def encode(self, frame: Tensor) -> Tensor:
        """Pixels [3, H, W] in −1…1 -> normalised latent [1, z, h, w], float32."""
        ...
