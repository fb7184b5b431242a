"""Pixels as codecs want them: one conversion from RGB to yuv420p a frame, shared read-only after that."""

from __future__ import annotations

import av
import numpy as np
import numpy.typing as npt
import torch

Rgb = npt.NDArray[np.uint8]
PLACEHOLDER_RGB = (18, 20, 26)
"""What viewers see before the first chunk."""


def as_arrays(frames: torch.Tensor) -> list[Rgb]:
    """uint8 [T, H, W, 3] on the CPU -> T arrays [H, W, 3] over the same memory."""
    return list(frames.numpy())


def to_yuv420p(rgb: Rgb) -> av.VideoFrame:
    """uint8 [H, W, 3], even sides -> a planar frame that owns its memory (BT.601, limited range).

    Encoders must never be handed packed RGB that is shared: two of them converting one such frame crash the process.
    """
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24").reformat(format="yuv420p")


def placeholder(height: int, width: int) -> Rgb:
    """A plain dark picture, uint8 [H, W, 3]."""
    return np.full((height, width, 3), PLACEHOLDER_RGB, dtype=np.uint8)
