"""Classifies the motion of a chunk from its masks, by thresholds at about half of the slowest motion."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from training.judge.segmentation import offset
from training.world.attributes import MOTIONS, SHAPES

_MOVES_X, _MOVES_Y = 0.5, 0.4  # pixels a frame
_PULSES = 0.1  # spread of the area over its mean
_ROTATES = math.radians(1.7)  # a frame
_FOLDS = {"circle": 1, "square": 4, "triangle": 3, "star": 5, "ring": 1, "cross": 4}
_ROUND = tuple(SHAPES.index(name) for name in ("circle", "ring"))


@dataclass(slots=True)
class Track:
    """Measurements of T frames of B clips.

    Args:
        centroid: pixels, [B, T, 2].
        area: pixels, [B, T].
        phase: radians of the angular moment, [B, T].
        fold: order of the angular moment, [B].
        size: of the torus in pixels.
    """

    centroid: Tensor
    area: Tensor
    phase: Tensor
    fold: Tensor
    size: int


def folds(shape: Tensor) -> Tensor:
    """The order of each shape's rotational symmetry; 1 for round shapes and for none."""
    return torch.tensor([*(_FOLDS[name] for name in SHAPES), 1], device=shape.device)[shape]


def velocity(track: Track) -> tuple[Tensor, Tensor]:
    """Median velocity and median speed in pixels a frame, [B, 2] each."""
    moves = offset(track.centroid[:, 1:], track.centroid[:, :-1], track.size)
    return moves.median(1).values, moves.abs().median(1).values


def turn_rate(track: Track) -> Tensor:
    """Median turn in radians a frame, [B]."""
    turns = torch.remainder(track.phase[:, 1:] - track.phase[:, :-1] + math.pi, 2 * math.pi) - math.pi
    return turns.median(1).values / track.fold


def name_motion(track: Track) -> Tensor:
    """Ids of MOTIONS, [B]."""
    towards, speed = velocity(track)
    spread = (track.area.amax(1) - track.area.amin(1)) / track.area.mean(1).clamp_min(1)
    turning = (turn_rate(track).abs() > _ROTATES) & (track.fold > 1)
    sideways, upright = speed[:, 0] > _MOVES_X, speed[:, 1] > _MOVES_Y
    motion = _ids("still", towards)
    motion = torch.where(turning, _ids("rotating", towards), motion)
    motion = torch.where(spread > _PULSES, _ids("pulsing", towards), motion)
    across = torch.where(towards[:, 0] < 0, _ids("left", towards), _ids("right", towards))
    along = torch.where(towards[:, 1] < 0, _ids("up", towards), _ids("down", towards))
    motion = torch.where(sideways & ~upright, across, motion)
    motion = torch.where(upright & ~sideways, along, motion)
    return torch.where(sideways & upright, _ids("bouncing", towards), motion)


def _ids(name: str, like: Tensor) -> Tensor:
    return torch.full((len(like),), MOTIONS.index(name), device=like.device)


def same_motion(seen: Tensor, wanted: Tensor, shape: Tensor) -> Tensor:
    """Whether `seen` is `wanted`. A rotating circle or ring looks like a still one."""
    is_round = (shape == _ROUND[0]) | (shape == _ROUND[1])
    unseen_turn = is_round & (wanted == MOTIONS.index("rotating")) & (seen == MOTIONS.index("still"))
    return (seen == wanted) | unseen_turn
