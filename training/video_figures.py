"""How well decoded frames follow an input, in figures. Knows the world and the judge's measurements, but no models.

Shapes: B streams, T frames.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from training import world
from training.judge import Judge
from training.judge.segmentation import Mask, offset
from training.world.attributes import RESOLUTION

_WINDOW = 6  # frames over which a velocity is taken
_REACH = (1.2, 4.0)  # how far from its centre an object's pixels may be: radii, and pixels beyond
_STRAY_PIXELS = 40  # more of them are another shape
_ROWS = 20  # streams whose masks are looked at together


@dataclass(slots=True)
class Followed:
    """What was seen of an object.

    Args:
        place: (x, y) in pixels, [B, T, 2].
        stray: whether a frame shows more than one object at one place, [B, T].
    """

    place: Tensor
    stray: Tensor


def follow(judge: Judge, frames: Tensor, poses: world.Poses) -> Followed:
    """Measures frames [B, T, 3, H, W] in [-1, 1] that should show objects at `poses`."""
    parts = []
    for first in range(0, len(frames), _ROWS):
        part = poses.rows(first, first + _ROWS)
        mask = judge.segment((frames[first : first + _ROWS] + 1) / 2)
        parts.append((mask.centroid.view(part.position.shape), _stray(mask, part)))
    place, stray = (torch.cat(list(column)) for column in zip(*parts, strict=True))
    return Followed(place, stray)


def _stray(mask: Mask, poses: world.Poses) -> Tensor:
    """What is far both from the right place and from the centroid counts: an object out of place is no second one."""
    reach = _REACH[0] * poses.radius.flatten() + _REACH[1]
    far = [_far(mask, centre, reach) for centre in (poses.position.flatten(0, 1), mask.centroid)]
    return (torch.minimum(*far) > _STRAY_PIXELS).view(poses.radius.shape)


def _far(mask: Mask, centre: Tensor, reach: Tensor) -> Tensor:
    """How many of an object's pixels are further than `reach` from `centre`, [N]."""
    grid = torch.arange(RESOLUTION, device=centre.device) + 0.5
    dx = offset(grid[None, None, :], centre[:, 0, None, None], RESOLUTION)
    dy = offset(grid[None, :, None], centre[:, 1, None, None], RESOLUTION)
    away = dx.square() + dy.square() > reach.square()[:, None, None]
    return ((mask.coverage > 0.5) & away).sum((1, 2))


def place_error(seen: Followed, poses: world.Poses) -> Tensor:
    """Pixels between where the object is and where it should be, [B, T]."""
    return offset(seen.place, poses.position, RESOLUTION).norm(dim=-1)


def velocity_correlation(seen: Followed, poses: world.Poses) -> float:
    """Pearson's correlation of the velocities over windows, of both axes together."""
    pairs = torch.stack([_velocities(seen.place).flatten(), _velocities(poses.position).flatten()])
    return torch.corrcoef(pairs)[0, 1].item()


def _velocities(place: Tensor) -> Tensor:
    marks = place[:, ::_WINDOW]
    return offset(marks[:, 1:], marks[:, :-1], RESOLUTION) / _WINDOW


def jumps(seen: Followed, poses: world.Poses) -> Tensor:
    """By how many pixels the object's move from frame to frame differs from the right one, [B, T − 1]."""
    made = offset(seen.place[:, 1:], seen.place[:, :-1], RESOLUTION)
    wanted = offset(poses.position[:, 1:], poses.position[:, :-1], RESOLUTION)
    return (made - wanted).norm(dim=-1)


def changes(frames: Tensor) -> Tensor:
    """The mean difference of neighbouring frames [B, T, 3, H, W], of 255, [B, T − 1]."""
    return torch.stack([(clip[1:] - clip[:-1]).abs().mean((1, 2, 3)) * 127.5 for clip in frames])


def at_borders(values: Tensor, borders: list[int], switch: int) -> tuple[Tensor, Tensor]:
    """Splits values [B, T − 1] of neighbouring frames into those across chunk borders and those inside chunks.

    borders: the first frame of each chunk but the first. switch: the border with a new prompt, which is left out.
    """
    across = [frame - 1 for frame in borders if frame != switch]
    inside = [index for index in range(values.shape[1]) if index + 1 not in borders]
    return values[:, across], values[:, inside]


def mean_figure(values: Tensor) -> float:
    """The mean, as reports have it."""
    return round(values.float().mean().item(), 4)
