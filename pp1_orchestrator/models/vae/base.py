"""What every streaming decoder and encoder and every frame encoder offers, and the state of a stream.

Shapes: F latent frames, T pixel frames, z latent channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from pp1_orchestrator.typed_torch import custom_op


@dataclass(slots=True)
class StreamState:
    """A stream's state between chunks: the last frames of each causal convolution's input. Not thread-safe.

    A fresh state starts a stream, whose first latent frame stands for one pixel frame instead of four.
    """

    entries: list[Tensor | None] = field(default_factory=list[Tensor | None])
    started: bool = False

    @property
    def nbytes(self) -> int:
        return sum(t.nbytes for t in self.entries if isinstance(t, Tensor))


class DecodeState(StreamState):
    """Of a stream that is decoded. A new epoch starts with a fresh one."""

    __slots__ = ()


class EncodeState(StreamState):
    """Of a stream that is encoded. A new epoch starts with a fresh one."""

    __slots__ = ()


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
    """Gives each causal layer its own entry of a stream's state, by the order of the calls.

    started: whether the stream had frames before this pass.
    """

    def __init__(self, state: StreamState) -> None:
        self._state, self.started = state, state.started
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


class NoCache(ConvCache):
    """For a single frame, of which nothing is kept."""

    def __init__(self) -> None:
        super().__init__(StreamState())

    def slot(self) -> tuple[int, Tensor | None]:
        return 0, None

    def store(self, index: int, frames: Tensor) -> None:
        pass


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


def count_latents(frames: int, started: bool, per_latent: int) -> int:
    """F for T pixel frames: T = 4F, or 1 + 4(F−1) at the start of a stream. Raises ValueError for another T.

    per_latent: frames that a latent frame stands for, 4 above.
    """
    latents, rest = divmod(frames - (not started), per_latent)
    if rest or latents + (not started) < 1:
        rule = f"a multiple of {per_latent}" if started else f"1 + a multiple of {per_latent}, as a stream starts"
        raise ValueError(f"{frames} frames to encode: must be {rule}")
    return latents + (not started)


class StreamingDecoder(Protocol):
    """Decodes a stream chunk by chunk. The pixels are those of decoding all latents in one call."""

    @property
    def weight_bytes(self) -> int: ...

    def decode(self, latents: Tensor, state: DecodeState) -> Tensor:
        """Normalised latents [F, z, h, w] -> pixels [T, 3, H, W] in −1…1, T = 4F, or 1 + 4(F−1) for a fresh state."""
        ...


class StreamingEncoder(Protocol):
    """Encodes a stream chunk by chunk. The latents are those of encoding all frames in one call."""

    @property
    def weight_bytes(self) -> int: ...

    def encode(self, frames: Tensor, state: EncodeState) -> Tensor:
        """Pixels [T, 3, H, W] in −1…1 -> normalised latents [F, z, h, w], float32, for T as `count_latents` says."""
        ...


class FrameEncoder(Protocol):
    """Encodes single frames, each as the first of a stream. Has no state."""

    @property
    def weight_bytes(self) -> int: ...

    def encode(self, frame: Tensor) -> Tensor:
        """Pixels [3, H, W] in −1…1 -> normalised latent [1, z, h, w], float32."""
        ...
