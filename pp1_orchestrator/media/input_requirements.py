"""How many pixel frames an input must supply for a chunk, and of which size: resolved once, before anything starts.

Pure arithmetic: knows nothing of files, cameras or models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

INPUT_MODES: Mapping[str, tuple[bool, bool]] = {
    "none": (False, False),
    "image_start": (True, False),
    "noise": (True, True),
    "motion_noise": (True, True),
    "history": (True, True),
}
"""How an input enters a chunk: whether an epoch's first chunk takes frames, and whether later ones do.

image_start: the stream begins with a still; noise, motion_noise: a chunk starts from noisy input; history: the input
takes the place of the generator's own history."""


@dataclass(frozen=True, slots=True)
class InputRequirements:
    """Pixel frames for the first chunk of an epoch, and for each later one. 0: a chunk takes none."""

    first_frames: int
    later_frames: int
    height: int
    width: int

    def input_frames(self, first: bool) -> int:
        return self.first_frames if first else self.later_frames


def resolve_input(
    mode: str, chunk_latent_frames: int, frames_per_latent: int, size: tuple[int, int], size_multiple: int
) -> InputRequirements:
    """The requirements of a mode. An epoch's first latent frame stands for one pixel frame.

    Raises ValueError, in one line that names the key, for an unknown mode or a size that is no multiple.
    """
    if mode not in INPUT_MODES:
        raise ValueError(f"source.mode={mode}: must be one of {', '.join(INPUT_MODES)}")
    for key, pixels in zip(("stream.height", "stream.width"), size, strict=True):
        if pixels < 1 or pixels % size_multiple:
            raise ValueError(f"{key}={pixels}: must be a positive multiple of {size_multiple}")
    first, later = INPUT_MODES[mode]
    whole = chunk_latent_frames * frames_per_latent
    return InputRequirements(first * (whole - frames_per_latent + 1), later * whole, *size)
