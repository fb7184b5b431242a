"""Draws the world: signed distances to the shapes, antialiased over one pixel, wrapped at the borders.

Knows nothing of movement or captions.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from training.world.attributes import BACKGROUNDS, COLORS, NO_SHAPE, RESOLUTION, SHAPES, Attribute
from training.world.constants import constant
from training.world.dynamics import Poses

_STAR_OUTER, _STAR_INNER, _STAR_POINTS = 1.15, 0.5, 5
_TRIANGLE_INRADIUS = 0.56
_CROSS_ARM = 0.34
Cover = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def _circle(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    return torch.sqrt(x * x + y * y + 1e-6) - 0.95 * radius


def _square(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    return torch.maximum(x.abs(), y.abs()) - 0.84 * radius


def _triangle(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    slope = math.sqrt(3) / 2
    sides = torch.maximum(slope * x - 0.5 * y, -slope * x - 0.5 * y)
    return torch.maximum(y, sides) - _TRIANGLE_INRADIUS * radius


def _star(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    sector = 2 * math.pi / _STAR_POINTS
    angle = torch.remainder(torch.atan2(x, -y) + sector / 2, sector) - sector / 2
    rho = torch.sqrt(x * x + y * y + 1e-6)
    inner_x, inner_y = _STAR_INNER * math.cos(sector / 2), _STAR_INNER * math.sin(sector / 2)
    normal_x, normal_y = inner_y, _STAR_OUTER - inner_x
    along = rho * torch.cos(angle) - _STAR_OUTER * radius
    across = rho * torch.sin(angle.abs())
    return (along * normal_x + across * normal_y) / math.hypot(normal_x, normal_y)


def _ring(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    return (torch.sqrt(x * x + y * y + 1e-6) - 0.75 * radius).abs() - 0.23 * radius


def _cross(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    wide, tall = x.abs(), y.abs()
    upright = torch.maximum(wide - _CROSS_ARM * radius, tall - radius)
    lying = torch.maximum(tall - _CROSS_ARM * radius, wide - radius)
    return torch.minimum(upright, lying)


_DISTANCES = dict(zip(SHAPES, (_circle, _square, _triangle, _star, _ring, _cross), strict=True))


def distance(shape: Tensor, x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    """Signed distance to the border in pixels, negative inside, accurate near the border.

    Args:
        shape: ids.
        x, y: pixels relative to the object's centre and angle. All arguments are broadcast.
    """
    out = _circle(x, y, radius)
    for index, name in enumerate(SHAPES[1:], start=1):
        out = torch.where(shape == index, _DISTANCES[name](x, y, radius), out)
    return out


def _look_up(colors: dict[str, tuple[int, int, int]], ids: Tensor) -> Tensor:
    """[N] ids -> [N, 3, 1, 1] in [-1, 1]."""
    return (constant(tuple(colors.values()), ids) / 127.5 - 1)[ids][:, :, None, None]


def _wrapped(axis: Tensor) -> Tensor:
    return torch.remainder(axis + RESOLUTION / 2, RESOLUTION) - RESOLUTION / 2


def cover(position: Tensor, angle: Tensor, radius: Tensor, shape: Tensor) -> Tensor:
    """The coverage of each pixel by the object, [N, 1, 128, 128] in 0…1. position [N, 2], the others [N]."""
    grid = torch.arange(RESOLUTION, device=position.device, dtype=torch.float32) + 0.5
    dx = _wrapped(grid[None, None, :] - position[:, 0, None, None])
    dy = _wrapped(grid[None, :, None] - position[:, 1, None, None])
    cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    kind = shape[:, None, None]
    inside = distance(kind, cos * dx + sin * dy, cos * dy - sin * dx, radius[:, None, None])
    return ((0.5 - inside).clamp(0, 1) * (kind != NO_SHAPE))[:, None]


def paint(coverage: Tensor, attributes: Tensor) -> Tensor:
    """Colours masks [N, 1, 128, 128] by attributes [N, 6]: frames [N, 3, 128, 128] in [-1, 1]."""
    color = _look_up(COLORS, attributes[:, Attribute.COLOR])
    background = _look_up(BACKGROUNDS, attributes[:, Attribute.BACKGROUND])
    return background + (color - background) * coverage


def draw_clip(poses: Poses, cover: Cover = cover) -> tuple[Tensor, Tensor]:
    """Frames [B, T, 3, 128, 128] in [-1, 1] and coverage [B, T, 1, 128, 128] of B clips. `cover` may be compiled."""
    attributes = poses.attributes.flatten(0, 1)
    coverage = cover(
        poses.position.flatten(0, 1), poses.angle.flatten(), poses.radius.flatten(), attributes[:, Attribute.SHAPE]
    )
    size = poses.angle.shape
    return paint(coverage, attributes).unflatten(0, size), coverage.unflatten(0, size)
