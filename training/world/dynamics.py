"""Moves the object: a deterministic step for each frame, on a torus of RESOLUTION pixels.

Attribute tensors have the ids of `Attribute` in their last dimension. Knows nothing of pixels or captions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from training.world.attributes import MOTIONS, NO_SHAPE, RESOLUTION, SIZES, SPEEDS, SYMMETRY, Attribute
from training.world.constants import constant

PIXELS_A_FRAME = 2.0
BOUNCE_A_FRAME = (1.7, 1.3)
RADIANS_A_FRAME = math.radians(6.0)
PULSE_PERIOD_FRAMES = 24
PULSE_DEPTH = 0.25
_DIRECTIONS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}
_BOUNCING, _ROTATING, _PULSING = (MOTIONS.index(name) for name in ("bouncing", "rotating", "pulsing"))


@dataclass(slots=True)
class State:
    """The object's state in B clips.

    Args:
        position: (x, y) in pixels, [B, 2].
        direction: of a bouncing object, ±1, [B, 2].
        angle, phase: radians, [B].
    """

    position: Tensor
    direction: Tensor
    angle: Tensor
    phase: Tensor

    def where(self, mask: Tensor, other: State) -> State:
        """This state where `mask` [B] is true, `other` elsewhere."""
        return State(
            torch.where(mask[:, None], self.position, other.position),
            torch.where(mask[:, None], self.direction, other.direction),
            torch.where(mask, self.angle, other.angle),
            torch.where(mask, self.phase, other.phase),
        )


@dataclass(slots=True)
class Poses:
    """What to draw in each frame: position [B, T, 2], angle [B, T], radius [B, T], attributes [B, T, 6]."""

    position: Tensor
    angle: Tensor
    radius: Tensor
    attributes: Tensor

    def rows(self, start: int, stop: int) -> Poses:
        """The poses of clips start..stop-1."""
        part = slice(start, stop)
        return Poses(self.position[part], self.angle[part], self.radius[part], self.attributes[part])

    def frames(self, start: int, stop: int) -> Poses:
        """The poses of frames start..stop-1."""
        part = (slice(None), slice(start, stop))
        return Poses(self.position[part], self.angle[part], self.radius[part], self.attributes[part])

    def with_attributes(self, attributes: Tensor) -> Poses:
        """The same poses of objects with other attributes [B, T, 6], whose sizes and motions are not looked at.

        A shape with another symmetry has the angle at which it looks turned as far on its way to looking upright
        again. So its angle follows from what the object looks like, and jumps nowhere.
        """
        before, now = self.attributes[..., Attribute.SHAPE], attributes[..., Attribute.SHAPE]
        symmetry = constant((*SYMMETRY, 0.0), now)
        return Poses(self.position, self.angle * symmetry[before] / symmetry[now].clamp_min(1), self.radius, attributes)


def canonical_state(count: int, device: torch.device | str) -> State:
    """The state at the start of a stream: centred, with angle and phase zero."""
    return State(
        torch.full((count, 2), RESOLUTION / 2, device=device),
        torch.ones(count, 2, device=device),
        torch.zeros(count, device=device),
        torch.zeros(count, device=device),
    )


def random_state(count: int, device: torch.device | str) -> State:
    """A random state of a running stream."""
    sign = (torch.rand(count, 2, device=device) > 0.5).float() * 2 - 1
    turn = 2 * math.pi
    return State(
        torch.rand(count, 2, device=device) * RESOLUTION,
        sign,
        torch.rand(count, device=device) * turn,
        torch.rand(count, device=device) * turn,
    )


def chunk_of_frame(chunks: int, latents: int = 3) -> list[int]:
    """The chunk of every frame. The first chunk has 1 + 4 (latents - 1) frames, the others 4 · latents."""
    return [0] * (1 + 4 * (latents - 1)) + [chunk for chunk in range(1, chunks) for _ in range(4 * latents)]


def table(values: dict[str, float], ids: Tensor) -> Tensor:
    """Values looked up by id, on the ids' device."""
    return constant(tuple(values.values()), ids)[ids]


def _velocity(motion: Tensor) -> Tensor:
    rows = [_DIRECTIONS.get(name, (0.0, 0.0)) for name in MOTIONS]
    return PIXELS_A_FRAME * torch.tensor(rows, device=motion.device)[motion]


def _begin(state: State, before: Tensor, now: Tensor) -> State:
    """A new motion starts at phase zero, and a new object in the centre."""
    appeared = before[:, Attribute.SHAPE] == NO_SHAPE
    fresh = appeared | (before[:, Attribute.MOTION] != now[:, Attribute.MOTION])
    start = canonical_state(len(fresh), fresh.device)
    begun = start.where(fresh, state)
    begun.position = torch.where(appeared[:, None], start.position, state.position)
    return begun


def step(state: State, before: Tensor, now: Tensor) -> State:
    """The state after one frame. before, now: attributes [B, 6] of the previous and of this frame."""
    state = _begin(state, before, now)
    motion = now[:, Attribute.MOTION]
    speed = table(SPEEDS, now[:, Attribute.SPEED])
    radius = table(SIZES, now[:, Attribute.SIZE])[:, None]
    bounce = torch.tensor(BOUNCE_A_FRAME, device=now.device)
    bounced = state.position + state.direction * bounce * speed[:, None]
    turned = torch.where(bounced < radius, torch.ones_like(bounced), state.direction)
    turned = torch.where(bounced > RESOLUTION - radius, -torch.ones_like(bounced), turned)
    bouncing = (motion == _BOUNCING)[:, None]
    moved = torch.where(bouncing, bounced, state.position + _velocity(motion) * speed[:, None])
    return State(
        torch.remainder(moved, RESOLUTION),
        torch.where(bouncing, turned, state.direction),
        state.angle + torch.where(motion == _ROTATING, RADIANS_A_FRAME * speed, 0.0),
        state.phase + torch.where(motion == _PULSING, 2 * math.pi / PULSE_PERIOD_FRAMES * speed, 0.0),
    )


def pulse(phase: Tensor) -> Tensor:
    """Radius factor of a pulsing object at a phase in radians."""
    return 1 + PULSE_DEPTH * torch.sin(phase)


def simulate(state: State, attributes: Tensor, before: Tensor | None = None) -> Poses:
    """The poses after `state` under attributes [B, T, 6].

    Args:
        before: attributes [B, 6] of the state's own frame; None if they are those of the first frame.
    """
    previous = attributes[:, 0] if before is None else before
    positions, angles, radii = [], [], []
    for now in attributes.unbind(1):
        state = step(state, previous, now)
        motion = now[:, Attribute.MOTION]
        factor = torch.where(motion == _PULSING, pulse(state.phase), 1.0)
        positions.append(state.position)
        angles.append(torch.where(motion == _ROTATING, state.angle, 0.0))
        radii.append(table(SIZES, now[:, Attribute.SIZE]) * factor)
        previous = now
    return Poses(torch.stack(positions, 1), torch.stack(angles, 1), torch.stack(radii, 1), attributes)
