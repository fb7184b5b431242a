"""Estimates the state of a stream from its pixels, and continues the world from there.

This gives a true continuation for any state of the model's own streams, however long they have run. The model can be
trained on them without having to jump back to its training clips (DAgger, arXiv:1011.0686).
Knows the world and the judge's measurements, but nothing of models.
"""

import math

import torch
from torch import Tensor

from training import world
from training.judge import Judge
from training.judge.judge import track_of
from training.judge.motion import Track
from training.judge.segmentation import offset
from training.world.attributes import MOTIONS, NO_SHAPE, RESOLUTION, SIZES, SPEEDS, Attribute
from training.world.dynamics import PIXELS_A_FRAME, PULSE_PERIOD_FRAMES, RADIANS_A_FRAME, pulse, table

READ_FRAMES = 12  # frames at the end of a stream from which its state is estimated
_POSITION_FRAMES = 4
_PHASE_CANDIDATES = 96
_LOST_AREA = 0.25  # of the expected area
_LOST_CONTRAST = 0.15
_WAYS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}


class Expert:
    """Estimates states. Calibrated on drawn masks when it is made."""

    def __init__(self, judge: Judge, device: torch.device) -> None:
        self._judge = judge
        self._area, self._phase = _calibrate(judge, device)

    def read(self, frames: Tensor, attributes: Tensor) -> tuple[world.State, Tensor]:
        """The state after the last of READ_FRAMES frames [B, T, 3, H, W] in [-1, 1] of scenes [B, 6].

        The second result [B] is true where the scene has an object and the frames show none.
        """
        mask = self._judge.segment((frames + 1) / 2)
        shape, size = attributes[:, Attribute.SHAPE], attributes[:, Attribute.SIZE]
        track = track_of(mask, shape, frames.shape[1])
        expected = self._area[shape, size]
        contrast = mask.contrast.view(len(shape), -1)[:, -1]
        missing = (track.area[:, -1] < _LOST_AREA * expected) | (contrast < _LOST_CONTRAST)
        position = _position(track, attributes)
        state = world.State(
            position,
            _direction(track, position, attributes),
            _angle(track, self._phase[shape], attributes),
            _pulse_phase(track, expected, attributes),
        )
        return state, missing & (shape != NO_SHAPE)

    def continue_from(self, frames: Tensor, before: Tensor, attributes: Tensor) -> world.Poses:
        """The poses that follow `frames` of scenes `before` [B, 6], under attributes [B, T, 6].

        A lost object reappears in the centre, as after an empty scene.
        """
        state, lost = self.read(frames[:, -READ_FRAMES:], before)
        shown = before.clone()
        shown[:, Attribute.SHAPE] = before[:, Attribute.SHAPE].masked_fill(lost, NO_SHAPE)
        return world.simulate(state, attributes, shown)


def _calibrate(judge: Judge, device: torch.device) -> tuple[Tensor, Tensor]:
    """Area in pixels [shapes + 1, sizes] and angular phase [shapes + 1] of every upright shape."""
    shapes, sizes = NO_SHAPE + 1, len(SIZES)
    attributes = torch.zeros(shapes * sizes, len(Attribute), dtype=torch.long, device=device)
    attributes[:, Attribute.SHAPE] = torch.arange(shapes, device=device).repeat_interleave(sizes)
    attributes[:, Attribute.SIZE] = torch.arange(sizes, device=device).repeat(shapes)
    attributes[:, Attribute.MOTION] = MOTIONS.index("still")
    poses = world.simulate(world.canonical_state(shapes * sizes, device), attributes[:, None])
    frames, _ = world.draw_clip(poses)
    track = track_of(judge.segment((frames + 1) / 2), attributes[:, Attribute.SHAPE], 1)
    return track.area.view(shapes, sizes), track.phase.view(shapes, sizes)[:, -1]


def _ages(track: Track) -> Tensor:
    """The age of each frame: 0 for the last one."""
    count = track.area.shape[1]
    return torch.arange(count - 1, -1, -1, device=track.area.device, dtype=torch.float32)


def _speed(attributes: Tensor) -> Tensor:
    return table(SPEEDS, attributes[:, Attribute.SPEED])


def _position(track: Track, attributes: Tensor) -> Tensor:
    """The mean of the last centroids, each advanced by the known velocity; only the last one if the object bounces."""
    motion = attributes[:, Attribute.MOTION]
    ways = torch.tensor([_WAYS.get(name, (0.0, 0.0)) for name in MOTIONS], device=motion.device)[motion]
    step = PIXELS_A_FRAME * ways * _speed(attributes)[:, None]
    recent = track.centroid[:, -_POSITION_FRAMES:] + step[:, None] * _ages(track)[-_POSITION_FRAMES:, None]
    last = track.centroid[:, -1]
    averaged = torch.remainder(last + offset(recent, last[:, None], track.size).mean(1), track.size)
    return torch.where((motion == MOTIONS.index("bouncing"))[:, None], last, averaged)


def _direction(track: Track, position: Tensor, attributes: Tensor) -> Tensor:
    """The direction of a bouncing object: that of its last moves, but never out of the frame."""
    radius = table(SIZES, attributes[:, Attribute.SIZE])[:, None]
    moves = offset(track.centroid[:, 1:], track.centroid[:, :-1], track.size)
    towards = torch.where(moves[:, -2:].mean(1) < 0, -1.0, 1.0)
    towards = torch.where(position < radius, 1.0, towards)
    return torch.where(position > RESOLUTION - radius, -1.0, towards)


def _angle(track: Track, upright: Tensor, attributes: Tensor) -> Tensor:
    """The angle of a rotating object: the circular mean of all phases, each advanced by the known rate."""
    fold = track.fold.float()
    rate = fold * RADIANS_A_FRAME * _speed(attributes)
    phase = track.phase - upright[:, None] + rate[:, None] * _ages(track)
    return torch.atan2(phase.sin().mean(1), phase.cos().mean(1)) / fold


def _pulse_phase(track: Track, expected: Tensor, attributes: Tensor) -> Tensor:
    """The phase of a pulsing object whose radii fit the areas best."""
    candidates = 2 * math.pi * torch.arange(_PHASE_CANDIDATES, device=expected.device) / _PHASE_CANDIDATES
    rate = 2 * math.pi / PULSE_PERIOD_FRAMES * _speed(attributes)
    phases = candidates[None, :, None] - rate[:, None, None] * _ages(track)
    seen = (track.area / expected.clamp_min(1)[:, None]).clamp_min(0).sqrt()
    error = (pulse(phases) - seen[:, None]).square().mean(-1)
    return candidates[error.argmin(-1)]
