"""The span recorder of a rank, and the clock by which it times work on a GPU."""

import time
from typing import NamedTuple

import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.telemetry.spans import DeviceClock, NullSpanRecorder, SpanRecorder


class Mark(NamedTuple):
    """A point in the device's work. queued_ns: when the host queued it, which is before the device reaches it."""

    event: torch.cuda.Event
    queued_ns: int


class CudaClock(DeviceClock):
    """CUDA events on the host's monotonic clock. The two clocks are aligned once, while the device is idle.

    The device's clock drifts by some 20 µs a second. A mark that seems to be reached before it was queued corrects it.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._zero = self.mark().event
        self._zero.synchronize()
        self._zero_ns = time.monotonic_ns()

    def mark(self) -> Mark:
        event, queued_ns = torch.cuda.Event(enable_timing=True), time.monotonic_ns()
        event.record(torch.cuda.current_stream(self._device))
        return Mark(event, queued_ns)

    def reached(self, mark: Mark) -> bool:
        return mark.event.query()

    def ns(self, mark: Mark) -> int:
        after_ns = round(self._zero.elapsed_time(mark.event) * 1e6)
        self._zero_ns = max(self._zero_ns, mark.queued_ns - after_ns)
        return self._zero_ns + after_ns


def make_recorder(settings: Settings, rank: int, device: torch.device) -> SpanRecorder:
    """A recorder for the whole run; one that records nothing unless `trace` is set."""
    if not settings.trace:
        return NullSpanRecorder(rank)
    return SpanRecorder(rank, clock=CudaClock(device) if device.type == "cuda" else None)
