"""How long calls take on a device, and how much of its memory."""

import itertools
import statistics
import time
from collections.abc import Callable, Sequence

import torch

Times = tuple[float, float, float]
"""Median, least and most."""


def call_times(call: Callable[[], object], repeats: int, device: torch.device) -> list[float]:
    """Milliseconds of successive calls, as in a stream: the host may run ahead of the device."""
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
    return of(call_times(call, repeats, device))


def waited_for(call: Callable[[], torch.Tensor], repeats: int) -> list[float]:
    """Milliseconds of calls, each with a wait for its result on the host."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call().sum().item()
        times.append((time.perf_counter() - start) * 1e3)
    return times


def distance(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Relative."""
    return float((found.float() - wanted.float()).norm() / wanted.float().norm())


def of(times: Sequence[float]) -> Times:
    return statistics.median(times), min(times), max(times)


def spread(times: Times) -> str:
    return f"{times[0]:.1f} ({times[1]:.1f}–{times[2]:.1f})"


def device_named(word: str) -> torch.device:
    """For a command line: the device, made the current one, since events are recorded on its streams."""
    device = torch.device(word)
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    return device


def wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Peak:
    """The most that torch has allocated on a GPU since this was made. Unknown for a CPU."""

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
