"""How long rank 0 has been waiting for an answer, and how long an answer may take.

Knows nothing of processes, and does not act on a late answer.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

MEDIAN_FACTOR = 10
"""An answer may take this many times the median of the newest answers."""
HISTORY = 32
"""How many answers the median is taken of."""


def queued_s(thread: int) -> float:
    """How long a thread of this process has been ready to run without getting a processor, since it began."""
    try:
        return int(Path(f"/proc/self/task/{thread}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):  # the thread has ended, or the kernel does not count this
        return 0.0


@dataclass(frozen=True, slots=True)
class Overdue:
    """A wait that has lasted too long."""

    waited_s: float
    allowed_s: float

    def __str__(self) -> str:
        return f"no answer for {self.waited_s:.3g} s, {self.allowed_s:.3g} s are allowed"


class ResponseTimer:
    """Times every wait for an answer. One thread waits; any thread may read; one watchdog may exclude time.

    Time in which the thread that waits was ready to run, and other programs had the processors, does not count: on a
    busy machine work that is done in this thread takes longer, and hangs no more than before.

    usual_s: limit of a wait, or MEDIAN_FACTOR times the median of the newest answers if that is more. longest_s: upper
    bound of the limit, and the limit itself for the first `warm` answers. queued_s: see there.
    """

    def __init__(
        self, usual_s: float, longest_s: float, warm: int, queued_s: Callable[[int], float] = queued_s
    ) -> None:
        self._usual_s, self._longest_s, self._warm, self._queued_s = usual_s, longest_s, warm, queued_s
        self._durations_s: deque[float] = deque(maxlen=HISTORY)
        self._wait: tuple[float, float, float, int, float] | None = None
        self._excluded_s = 0.0

    @contextmanager
    def timed(self) -> Generator[None]:
        """Context of one wait."""
        allowed_s = self._longest_s
        if self._warm <= 0 and self._durations_s:
            allowed_s = min(max(self._usual_s, MEDIAN_FACTOR * median(self._durations_s)), allowed_s)
        thread = threading.get_native_id()
        self._wait = (time.monotonic(), allowed_s, self._excluded_s, thread, self._queued_s(thread))
        try:
            yield
        finally:
            self._wait = None

    def record(self, took_s: float) -> None:
        """Note how long an answer took."""
        self._warm -= 1
        self._durations_s.append(took_s)

    def overdue(self, now_s: float) -> Overdue | None:
        """The current wait, if it has lasted too long. now_s: monotonic."""
        wait = self._wait
        if wait is None:
            return None
        start_s, allowed_s, excluded_s, thread, before_s = wait
        waited_s = now_s - start_s - (self._excluded_s - excluded_s)
        if waited_s >= allowed_s:  # asked only then
            waited_s -= max(0.0, self._queued_s(thread) - before_s)
        return None if waited_s < allowed_s else Overdue(waited_s, allowed_s)

    def exclude(self, suspended_s: float) -> None:
        """Do not count this time in the current wait: the process was suspended."""
        self._excluded_s += suspended_s
