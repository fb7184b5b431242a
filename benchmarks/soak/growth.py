"""Samples of a process's resources over time, and which of them grow. Knows nothing of the program."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import psutil

RSS_LIMIT_MB = 2.0
"""Allowed for each thousand chunks."""
COUNTED = ("fds", "threads", "children")
LOOKS, LOOK_S = 4, 0.02
SETTLED = 3
"""The minimum of this many samples counts, at the beginning and at the end: a viewer may be joining or leaving."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The resources of a process after this many chunks."""

    chunk: int
    rss_mb: float
    fds: int
    threads: int
    children: int


def sample(pid: int, chunk: int) -> Sample:
    """One sample. The number of files is the least of several looks: a request for the state briefly has a socket."""
    process, looks = psutil.Process(pid), []
    for _ in range(LOOKS):
        looks.append(process.num_fds())
        time.sleep(LOOK_S)
    with process.oneshot():
        rss_mb = process.memory_info().rss / 1e6
        return Sample(chunk, rss_mb, min(looks), process.num_threads(), len(process.children(recursive=True)))


def slope_mb(samples: Sequence[Sample]) -> float:
    """Megabytes for each thousand chunks, by least squares."""
    chunks = [float(s.chunk) for s in samples]
    return float(np.polyfit(chunks, [s.rss_mb for s in samples], 1)[0]) * 1000


def grown(samples: Sequence[Sample], rss_limit_mb: float = RSS_LIMIT_MB) -> list[str]:
    """What has grown, in words; empty for a process that has not grown."""
    found = []
    for name in COUNTED:
        first, last = (min(getattr(s, name) for s in part) for part in (samples[:SETTLED], samples[-SETTLED:]))
        if last > first:
            found.append(f"{name} went from {first} to {last}")
    slope = slope_mb(samples)
    if slope > rss_limit_mb:
        found.append(f"memory grows by {slope:.1f} MB for each 1000 chunks; {rss_limit_mb:g} are allowed")
    return found
