"""Combines the measurements of a clip to a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from training.judge.motion import Track, folds, name_motion, same_motion
from training.judge.segmentation import Mask, angular_phase, crop, segment
from training.judge.shape_net import WEIGHTS, ShapeNet, load_shape_net
from training.world.attributes import BACKGROUNDS, COLORS, NO_SHAPE, Attribute

_LEAST_CONTRAST: Final = 0.15  # of an object
_FRAMES_AT_ONCE: Final = 600


@dataclass(slots=True)
class Verdict:
    """Ids of the world's attributes, [B] each. Without an object, color is −1 and shape NO_SHAPE."""

    color: Tensor
    shape: Tensor
    background: Tensor
    motion: Tensor

    def correct(self, attributes: Tensor) -> dict[str, Tensor]:
        """Compares colour, background, shape and motion with attributes [B, 6]; bool [B] each."""
        wanted = attributes.to(self.color.device)
        shape = wanted[:, Attribute.SHAPE]
        return {
            "color": self.color == wanted[:, Attribute.COLOR],
            "background": self.background == wanted[:, Attribute.BACKGROUND],
            "shape": self.shape == shape,
            "motion": same_motion(self.motion, wanted[:, Attribute.MOTION], shape),
        }


def _nearest(colors: Tensor, palette: dict[str, tuple[int, int, int]]) -> Tensor:
    return torch.cdist(colors, torch.tensor(list(palette.values()), device=colors.device) / 255.0).argmin(-1)


class Judge:
    """Measures clips. Has no state."""

    def __init__(self, shape_net: ShapeNet) -> None:
        self._shape_net = shape_net

    @classmethod
    def load(cls, device: torch.device | str = "cpu", path: Path = WEIGHTS) -> Judge:
        """A judge with the stored shape network."""
        return cls(load_shape_net(path).to(device))

    @torch.no_grad()
    def measure(self, frames: Tensor) -> Verdict:
        """Measures frames [B, T, 3, H, W] of one caption, uint8 or float in 0…1; T ≥ 4 for a reliable motion.

        Colours and shape are those of most frames. Raises ValueError for tensors of another shape.
        """
        if frames.ndim != 5 or frames.shape[2] != 3:
            raise ValueError(f"frames must be [B, T, 3, H, W], not {list(frames.shape)}")
        batch, length = frames.shape[:2]
        mask = self.segment(frames)
        empty = mask.contrast < _LEAST_CONTRAST
        color = _nearest(mask.color, COLORS).masked_fill(empty, -1)
        shape = self._shape_net(crop(mask.coverage, mask.centroid)).argmax(-1).masked_fill(empty, NO_SHAPE)

        def most(ids: Tensor) -> Tensor:
            return ids.view(batch, length).mode(1).values

        named = most(shape)
        motion = name_motion(track_of(mask, named, length))
        return Verdict(most(color), named, most(_nearest(mask.background, BACKGROUNDS)), motion)

    def segment(self, frames: Tensor) -> Mask:
        """The masks of all B · T frames."""
        flat = frames.flatten(0, 1)
        parts = [segment(_unit(part)) for part in flat.split(_FRAMES_AT_ONCE)]
        return Mask(*(torch.cat([getattr(part, name) for part in parts]) for name in Mask.__slots__))


def _unit(frames: Tensor) -> Tensor:
    return frames.float() if frames.is_floating_point() else frames.float() / 255.0


def track_of(mask: Mask, shape: Tensor, length: int) -> Track:
    """The track of B clips of `length` frames with known shapes [B]."""
    batch, fold = len(shape), folds(shape)
    phase = angular_phase(mask.coverage, mask.centroid, fold.repeat_interleave(length))
    return Track(
        centroid=mask.centroid.view(batch, length, 2),
        area=mask.area.view(batch, length),
        phase=phase.view(batch, length),
        fold=fold,
        size=mask.coverage.shape[-1],
    )
