"""Which recorder of spans a rank gets: none, one of CPU times, or one that times the GPU's work as well."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import NamedTuple

import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.telemetry.spans import NullSpanRecorder, SpanRecorder

log = logging.getLogger(__name__)


class Mark(NamedTuple):
    """told_ns: when the device was told of it, which is before it comes to it."""

    event: torch.cuda.Event
    told_ns: int


class CudaClock:
    """Implements `measure.spans.DeviceClock`. The device's clock is set once by the host's, while nothing runs yet.

    It goes a little slower or faster than that one, some 20 µs a second; a mark that would come before the device was
    told of it sets it right.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._zero = self.mark().event
        self._zero.synchronize()
        self._zero_ns = time.monotonic_ns()

    def mark(self) -> Mark:
        event, told_ns = torch.cuda.Event(enable_timing=True), time.monotonic_ns()
        event.record(torch.cuda.current_stream(self._device))
        return Mark(event, told_ns)

    def reached(self, mark: Mark) -> bool:
        return mark.event.query()

    def ns(self, mark: Mark) -> int:
        after_ns = round(self._zero.elapsed_time(mark.event) * 1e6)
        self._zero_ns = max(self._zero_ns, mark.told_ns - after_ns)
        return self._zero_ns + after_ns


def leave_part(spans: SpanRecorder, folder: Path) -> None:
    """Write a rank's part of the trace. A disk that takes none costs the trace, and nothing else."""
    try:
        spans.write_part(folder)
    except OSError as error:
        log.warning("a part of the trace can't be written: %s", error)


def make_recorder(settings: Settings, rank: int, device: torch.device) -> SpanRecorder:
    """One for a rank's whole life."""
    if not settings.trace:
        return NullSpanRecorder(rank)
    return SpanRecorder(rank, clock=CudaClock(device) if device.type == "cuda" else None)
