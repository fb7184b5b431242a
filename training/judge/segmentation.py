"""Splits frames into background and object, and measures the object's mask. Shapes: N frames of H × W pixels.

All positions are on a torus, because objects leave on one side and return on the other.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

_BRIGHTEST_PIXELS = 80  # their mean distance from the background is the object's contrast
_CORE = 0.85  # pixels of more coverage show only the object's colour
CROP_RADIUS = 52  # pixels around the centroid that the shape network sees, at half resolution


@dataclass(slots=True)
class Mask:
    """The objects of N frames.

    Args:
        background, color: in 0…1, [N, 3].
        coverage: in 0…1, [N, H, W].
        contrast: distance of the object's colour from the background's, [N].
        centroid: (x, y) in pixels, [N, 2].
        area: pixels, [N].
    """

    background: Tensor
    color: Tensor
    coverage: Tensor
    contrast: Tensor
    centroid: Tensor
    area: Tensor


def segment(frames: Tensor) -> Mask:
    """Segments frames [N, 3, H, W] in 0…1. The background is the median colour."""
    background = frames.flatten(2).median(-1).values
    away = (frames - background[:, :, None, None]).norm(dim=1)
    contrast = away.flatten(1).topk(_BRIGHTEST_PIXELS, -1).values.mean(-1)
    coverage = (away / contrast.clamp_min(1e-3)[:, None, None]).clamp(0, 1)
    core = (coverage > _CORE).float()
    color = (frames * core[:, None]).flatten(2).sum(-1) / core.flatten(1).sum(-1, keepdim=True).clamp_min(1)
    solid = coverage * (coverage > 0.5)
    return Mask(background, color, coverage, contrast, _centroid(solid), solid.sum((1, 2)))


def _circular_mean(weights: Tensor) -> Tensor:
    """The centre of weights [N, size] on a circle of `size` pixels."""
    size = weights.shape[-1]
    angle = 2 * math.pi * (torch.arange(size, device=weights.device) + 0.5) / size
    turn = torch.atan2((weights * angle.sin()).sum(-1), (weights * angle.cos()).sum(-1))
    return torch.remainder(turn / (2 * math.pi) * size, size)


def _centroid(mask: Tensor) -> Tensor:
    return torch.stack([_circular_mean(mask.sum(1)), _circular_mean(mask.sum(2))], -1)


def crop(coverage: Tensor, centroid: Tensor) -> Tensor:
    """The square around the centroid, [N, 1, CROP_RADIUS, CROP_RADIUS] (averaged over 2 × 2 pixels)."""
    count, height, width = coverage.shape
    offsets = torch.arange(-CROP_RADIUS, CROP_RADIUS, device=coverage.device)
    columns = (centroid[:, :1].round().long() + offsets) % width
    rows = (centroid[:, 1:].round().long() + offsets) % height
    picked = coverage[torch.arange(count, device=coverage.device)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return avg_pool2d(picked[:, None], 2)


def offset(to: Tensor, start: Tensor, size: int) -> Tensor:
    """The signed shortest distance from `start` to `to` on a circle of `size` pixels."""
    return torch.remainder(to - start + size / 2, size) - size / 2


def angular_phase(coverage: Tensor, centroid: Tensor, fold: Tensor) -> Tensor:
    """The phase [N] of the mask's angular moment of order `fold` [N], in radians.

    It is `fold` times the object's angle, plus a constant of its shape.
    """
    _, height, width = coverage.shape
    columns = torch.arange(width, device=coverage.device) + 0.5
    rows = torch.arange(height, device=coverage.device) + 0.5
    dx = offset(columns, centroid[:, :1], width)[:, None, :]
    dy = offset(rows, centroid[:, 1:], height)[:, :, None]
    angle = fold.float()[:, None, None] * torch.atan2(dy, dx)
    weight = coverage * (dx * dx + dy * dy)  # outer parts tell more about the angle
    return torch.atan2((weight * angle.sin()).sum((1, 2)), (weight * angle.cos()).sum((1, 2)))
