"""Time limits that hold on a busy or slow machine: they grow with what a fixed piece of work takes at that moment.

Owns the measurement. Knows nothing of what is limited.
"""

import contextlib
import time
from collections.abc import Iterator

ROUNDS = 4_000_000
IDLE_S = 0.085
"""What the work takes on an idle machine of the kind that this project is developed on."""
MARGIN = 2.0
"""A program with several processes suffers more from a busy machine than one loop does."""


def slowdown() -> float:
    """How many times longer than on an idle machine work takes now; at least 1. Takes 0.1 s on an idle machine."""
    start = time.perf_counter()
    left = ROUNDS
    while left:
        left -= 1
    return max(1.0, (time.perf_counter() - start) / IDLE_S)


def scaled(seconds: float) -> float:
    """`seconds` of an idle machine, in seconds of this machine at this moment."""
    return seconds * (1 + MARGIN * (slowdown() - 1))


class Stopwatch:
    """seconds: how long the block took; scale: what a limit is multiplied by, the larger one of before and after it."""

    seconds: float = 0.0
    scale: float = 1.0

    def within(self, limit_s: float) -> bool:
        """Whether the block took no longer than `limit_s` seconds of an idle machine."""
        return self.seconds <= limit_s * self.scale


@contextlib.contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """Time a block, and how busy the machine is around it."""
    watch, before = Stopwatch(), scaled(1.0)
    start = time.monotonic()
    try:
        yield watch
    finally:
        watch.seconds = time.monotonic() - start
        watch.scale = max(before, scaled(1.0))
