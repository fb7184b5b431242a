"""Pixel frames as arrays, and their conversion to yuv420p for a codec. Works without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import av
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

Frame = npt.NDArray[np.uint8]
"""[H, W, 3], RGB; or [3·H/2, W], the planes of yuv420p one below the other. Height and width are even."""
if TYPE_CHECKING:
    Packet: TypeAlias = av.Packet[av.VideoStream]
else:
    Packet = av.Packet  # generic for type checkers only
FORMATS = {3: "rgb24", 2: "yuv420p"}
"""FFmpeg's name of a frame's format, by the number of dimensions."""
PLACEHOLDER_RGB = (18, 20, 26)


def as_arrays(frames: torch.Tensor) -> list[Frame]:
    """uint8 [T, …] on the CPU -> T arrays over the same memory."""
    return list(frames.numpy())


def to_yuv420p(frame: Frame) -> av.VideoFrame:
    """A planar frame with its own memory (BT.601, limited range).

    Encoders must never share packed RGB: two of them that convert the same frame crash the process.
    """
    packed = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format=FORMATS[frame.ndim])
    return packed.reformat(format="yuv420p")


def to_rgb(frame: Frame) -> Frame:
    """[H, W, 3]."""
    return frame if frame.ndim == 3 else to_yuv420p(frame).to_ndarray(format="rgb24").astype(np.uint8, copy=False)


def placeholder(height: int, width: int) -> Frame:
    """The dark frame that viewers see before the first chunk, uint8 [H, W, 3]."""
    return np.full((height, width, 3), PLACEHOLDER_RGB, dtype=np.uint8)
