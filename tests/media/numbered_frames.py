"""Chunks of numbered frames, and metrics that keep what the media parts report."""

import time

import numpy as np
import torch

from benchmarks.numbered import SIZE, numbered, read_number
from pp1_orchestrator.telemetry.metrics import Metrics
from pp1_orchestrator.types import DecodedChunk

__all__ = ["SIZE", "Counted", "chunk", "numbered", "read_number"]


def chunk(index: int, frames: int = 6, first: int | None = None, update_ids=(), epoch: int = 0) -> DecodedChunk:
    """Frames numbered from `first`; by default they go on where the chunk before ended."""
    start = index * frames if first is None else first
    pictures = np.stack([numbered(start + i) for i in range(frames)])
    return DecodedChunk(index, epoch, torch.from_numpy(pictures), tuple(update_ids), time.monotonic())


class Counted(Metrics):
    """Keeps every number that the media parts report."""

    def __init__(self) -> None:
        super().__init__()
        self.drops: dict[str, int] = {}
        self.depths: dict[str, int] = {}
        self.viewer_counts: list[int] = []
        self.limits: list[str] = []

    def frames_dropped(self, reason, count=1) -> None:
        self.drops[reason] = self.drops.get(reason, 0) + count

    def queue_depth(self, queue, depth) -> None:
        self.depths[queue] = depth

    def viewers(self, count) -> None:
        self.viewer_counts.append(count)

    def limited(self, limit) -> None:
        self.limits.append(limit)
