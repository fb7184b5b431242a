"""From which noise level a chunk starts where it starts from an input, and its steps from there, in plain numbers.

Sources: Krea Realtime's strength (`get_denoising_schedule`) and StreamDiffusionV2's motion-aware noise level
(`compute_noise_scale_and_step`). Both start from (1 − level) · input + level · noise, which is `sampler.noised`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pp1_orchestrator.models.wan.schedule import TRAIN_STEPS, FlowSchedule

STEP_BELOW = 100
"""Of 1000: how far StreamDiffusionV2's first timestep lies below the noise level, on purpose."""
DISTANCE_SCALE = 0.2
"""A difference of neighbouring frames from which on motion counts in full, for pixels in −1…1."""
MOTION_WEIGHT, SMOOTHING = 0.1, 0.1
"""How far full motion lowers the noise level, and how much of the level before it remains."""
ROUNDING = 1e-4
"""Of 1000: a product of two decimal fractions may be this far below the whole number that it stands for."""


@dataclass(frozen=True, slots=True)
class InputStart:
    """noise_level: the share of noise in what a chunk starts from, 0…1. steps: its nominal denoising steps."""

    noise_level: float
    steps: tuple[float, ...]


def strength_start(steps: Sequence[float], strength: float, schedule: FlowSchedule) -> InputStart:
    """Krea's rule: nominal steps shrink with the strength, and the input gets the noise of the first one.

    Whole numbers, as upstream's. A step without less noise than the one before it is left out. With strength 1 all is
    as without an input.
    """
    if strength == 1:
        return InputStart(1.0, tuple(steps))
    levels = {step: schedule.step(step).sigma for step in (float(int(step * strength + ROUNDING)) for step in steps)}
    kept = dict[float, float]()
    for step, sigma in levels.items():
        if sigma not in kept:
            kept[sigma] = step
    return InputStart(max(kept), tuple(kept.values()))


def motion_level(strength: float, distance: float, previous: float) -> float:
    """StreamDiffusionV2's rule: the noise level of a chunk, lower where there is more motion.

    distance: root mean square of the difference of neighbouring frames, in −1…1, the largest of the chunk. previous:
    the level of the chunk before; the strength for an epoch's first chunk, which has distance 0.
    """
    motion = min(max(distance / DISTANCE_SCALE, 0.0), 1.0)
    return (strength - MOTION_WEIGHT * motion) * (1 - SMOOTHING) + previous * SMOOTHING


def motion_start(steps: Sequence[float], level: float, schedule: FlowSchedule) -> InputStart:
    """StreamDiffusionV2's first step for a noise level; of the other steps those below it remain."""
    first = schedule.nominal(max(int(TRAIN_STEPS * level) - STEP_BELOW, 0))
    return InputStart(level, (first, *(step for step in steps[1:] if step < first)))
