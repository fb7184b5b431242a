"""How long a rank's work took where it was done: a device does it later than it is told to."""

from __future__ import annotations

import time
from typing import Any, Protocol

import torch


class Timer(Protocol):
    """Marks points of this thread's work."""

    def mark(self) -> Any: ...

    def ms(self, start: Any, end: Any) -> float:
        """From one mark to another, once the work up to `end` is done: waits for it."""
        ...


class HostTimer:
    """What is told is done."""

    def mark(self) -> float:
        return time.monotonic()

    def ms(self, start: float, end: float) -> float:
        return (end - start) * 1e3


class CudaTimer:
    """Of the calling thread's stream."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event

    def ms(self, start: torch.cuda.Event, end: torch.cuda.Event) -> float:
        end.synchronize()
        return start.elapsed_time(end)


def timer_of(device: torch.device) -> Timer:
    return CudaTimer(device) if device.type == "cuda" else HostTimer()
