"""How long calls take on a device, and how much of its memory."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable

import torch

Times = tuple[float, float, float]
"""Median, least and most."""


def call_times(call: Callable[[], object], repeats: int, device: torch.device) -> list[float]:
    """Milliseconds, one call after the other as in a stream: the host may prepare what comes next."""
    if device.type != "cuda":
        marks = [time.perf_counter()]
        for _ in range(repeats):
            call()
            marks.append(time.perf_counter())
        return [1e3 * (end - start) for start, end in itertools.pairwise(marks)]
    events = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
    events[0].record()
    for event in events[1:]:
        call()
        event.record()
    events[-1].synchronize()
    return [start.elapsed_time(end) for start, end in itertools.pairwise(events)]


def milliseconds(call: Callable[[], object], repeats: int, device: torch.device) -> Times:
    times = call_times(call, repeats, device)
    return statistics.median(times), min(times), max(times)


def spread(times: Times) -> str:
    return f"{times[0]:.1f} ({times[1]:.1f}–{times[2]:.1f})"


def wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Peak:
    """What torch has allocated on a GPU at the most since this was made; of a CPU nothing is known."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)

    def __str__(self) -> str:
        """GiB."""
        if self._device.type != "cuda":
            return "–"
        return f"{torch.cuda.max_memory_allocated(self._device) / 2**30:.1f}"
