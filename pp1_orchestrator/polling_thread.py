"""A thread that polls, and how long this process was suspended between two polls. Knows nothing of what is polled.

The monotonic clock runs on while a process or its machine is stopped. When it resumes, every deadline has passed,
though what is watched had no time to meet it. The poller was stopped as well and can tell: its own poll comes late.
"""

import threading
import time
from abc import ABC, abstractmethod

SUSPEND_THRESHOLD_S = 0.5
"""A poll that is later than this is late because nothing ran."""


class SuspendDetector:
    """Measures suspension from the times of regular polls. Times are monotonic seconds."""

    def __init__(self, period_s: float, now_s: float) -> None:
        self._period_s, self._last_s = period_s, now_s

    def suspended_s(self, now_s: float) -> float:
        """Seconds since the previous poll in which nothing ran."""
        late_s = now_s - self._last_s - self._period_s
        self._last_s = now_s
        return late_s if late_s > SUSPEND_THRESHOLD_S else 0.0


class PollingThread(ABC):
    """A daemon thread that calls `_poll` every `period_s` seconds, first after one period, until it is closed.

    A subclass calls `__init__` last: it starts the thread.
    """

    def __init__(self, name: str, period_s: float) -> None:
        self._period_s = period_s
        self._closed = threading.Event()
        self._detector = SuspendDetector(period_s, time.monotonic())
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop polling and wait for the thread."""
        self._closed.set()
        self._thread.join()

    @abstractmethod
    def _poll(self, now_s: float, suspended_s: float) -> bool:
        """One poll; False ends the thread.

        Args:
            now_s: monotonic time.
            suspended_s: seconds since the previous poll in which nothing ran.
        """

    def _wait(self) -> bool:
        """Sleep until the next poll is due. True when there is to be none."""
        return self._closed.wait(self._period_s)

    def _run(self) -> None:
        while not self._wait():
            now_s = time.monotonic()
            if not self._poll(now_s, self._detector.suspended_s(now_s)):
                return
