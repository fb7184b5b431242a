"""Endless batches of self-rollouts from groups of streams.

Each group is restarted after a number of rollouts, so some groups are always young and others run for hundreds of
chunks.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import zip_longest
from typing import Protocol

import torch

from training.model import TinyModel
from training.rollout import Rollout, RolloutSettings, StreamGroup, Tools
from training.scene_scripts import Scripts
from training.video_rollout import VideoStreamGroup
from training.video_scripts import VideoScripts


class Group(Protocol):
    """Streams of the same age."""

    def advance(self, model: TinyModel) -> Rollout: ...


def groups_of(
    settings: RolloutSettings, scripts: Scripts, video: VideoScripts | None, tools: Tools
) -> list[Callable[[], Group]]:
    """What makes each group. Groups with an input stand between the others."""
    plain = scripts.to(tools.device)
    made: list[Callable[[], Group]] = [partial(StreamGroup, settings, life, plain, tools) for life in settings.lives]
    if video is None:
        return made
    inputs = video.to(tools.device)
    guided = [partial(VideoStreamGroup, settings, life, inputs, tools) for life in settings.video_lives]
    return [make for pair in zip_longest(made, guided) for make in pair if make is not None]


class Rollouts:
    """Endless batches of self-rollouts. The groups take turns, and every rollout is used several times."""

    def __init__(self, makers: Sequence[Callable[[], Group]], uses: int) -> None:
        self._makers, self._uses = makers, uses
        self.restart()

    def restart(self) -> None:
        """Drops all streams."""
        self._groups = [make() for make in self._makers]
        self._turn = 0
        self._left: Iterator[Rollout] = iter(())

    def skip(self) -> None:
        """Drops what is left of the current rollout."""
        self._left = iter(())

    def next(self, model: TinyModel, batch: int) -> Rollout:
        """The next `batch` streams of the current rollout, or of a new one, streamed with `model`."""
        ready = next(self._left, None)
        if ready is not None:
            return ready
        rollout = self._groups[self._turn % len(self._groups)].advance(model)
        self._turn += 1
        self._left = self._batches(rollout, batch)
        return next(self._left)

    def _batches(self, rollout: Rollout, batch: int) -> Iterator[Rollout]:
        count, device = len(rollout.weight), rollout.weight.device
        for _ in range(self._uses):
            for rows in torch.randperm(count, device=device).split(batch):
                if len(rows) == batch:
                    yield rollout.rows(rows)
