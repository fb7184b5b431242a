"""How an encoded input enters a chunk: what the chunk starts from, its steps, and what becomes its history.

One class for each `source.mode`. The planner asks the chosen one chunk by chunk; no other code knows the modes.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from pp1_orchestrator.models.wan.input_schedule import InputStart, motion_level, motion_start, strength_start
from pp1_orchestrator.models.wan.schedule import FlowSchedule


@dataclass(frozen=True, slots=True)
class InputChunk:
    """What an input gives for one chunk. motion: largest difference of neighbouring frames, as `motion_level` has it.

    latents: [1, F, z, h, w], float32. before: of the same shape, for an epoch's first chunk whose first frame has been
    repeated before it.
    """

    latents: Tensor
    motion: float = 0.0
    before: Tensor | None = None


@dataclass(frozen=True, slots=True)
class ChunkStart:
    """What a chunk starts from. steps: its nominal denoising steps.

    latents: the input's, or None where the chunk starts from noise alone and has its own history. noise_level: of the
    noise that is mixed into them. is_history: they take the place of the chunk's own latents in the history.
    prefill: latents before an epoch's first chunk, which it continues.
    """

    steps: tuple[float, ...]
    latents: Tensor | None = None
    noise_level: float = 1.0
    is_history: bool = False
    prefill: Tensor | None = None


class InputMode(ABC):
    """A way for an input to enter a chunk."""

    needs_motion: ClassVar[bool] = False
    """It looks at `InputChunk.motion`."""
    is_history: ClassVar[bool] = False
    """The input takes the place of the stream's own history."""
    needs_caption: ClassVar[bool] = False
    """It writes the input into the history, under its caption."""
    repeats_first: ClassVar[bool] = False
    """Before an epoch's first chunk, its first frame is repeated, so that the chunk has a history."""

    def __init__(self, schedule: FlowSchedule) -> None:
        self._schedule = schedule

    @abstractmethod
    def start(self, found: InputChunk | None, steps: Sequence[float], strength: float, first: bool) -> ChunkStart:
        """The next chunk. found: None for a chunk that takes nothing. first: it begins an epoch.

        steps: of a chunk without an input. strength: how far the chunk may leave its input, 0…1.
        """


class NoiseInjection(InputMode):
    """source.mode=noise: a chunk starts from its noisy input, and makes the steps from there on (Krea Realtime)."""

    def start(self, found: InputChunk | None, steps: Sequence[float], strength: float, first: bool) -> ChunkStart:
        return _from_input(found, strength_start(steps, strength, self._schedule), self.is_history)


class HistoryInput(NoiseInjection):
    """source.mode=history: as noise, and the input is the history of the chunks to come.

    An epoch's first chunk has the first frame, repeated, as its history: without one, it would ignore where things are.
    """

    is_history: ClassVar[bool] = True
    needs_caption: ClassVar[bool] = True
    repeats_first: ClassVar[bool] = True


class MotionNoise(InputMode):
    """source.mode=motion_noise: as noise, with less of it where the input moves more (StreamDiffusionV2)."""

    needs_motion: ClassVar[bool] = True

    def __init__(self, schedule: FlowSchedule) -> None:
        super().__init__(schedule)
        self._level = 0.0

    def start(self, found: InputChunk | None, steps: Sequence[float], strength: float, first: bool) -> ChunkStart:
        if strength == 1 or found is None:
            self._level = 1.0
            return ChunkStart(tuple(steps))
        self._level = strength if first else motion_level(strength, found.motion, self._level)
        return _from_input(found, motion_start(steps, self._level, self._schedule), self.is_history)


class ImageStart(InputMode):
    """source.mode=image_start: an epoch continues the input, which is its history; then it is text alone."""

    needs_caption: ClassVar[bool] = True

    def start(self, found: InputChunk | None, steps: Sequence[float], strength: float, first: bool) -> ChunkStart:
        return ChunkStart(tuple(steps), prefill=None if found is None else found.latents)


def _from_input(found: InputChunk | None, start: InputStart, is_history: bool) -> ChunkStart:
    if found is None or (start.noise_level == 1 and not is_history):
        return ChunkStart(start.steps)
    return ChunkStart(start.steps, found.latents, start.noise_level, is_history, found.before)
