"""How long rank 0 has been waiting for its mesh, and from when on that is too long.

Knows nothing of processes, nor of what is done about a mesh that does not answer.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

MEDIAN_FACTOR = 10
"""An answer may take so many times as long as the newest ones took."""
HISTORY = 32


@dataclass(frozen=True, slots=True)
class Overdue:
    """A wait that is too long, in seconds."""

    waited_s: float
    allowed_s: float

    def __str__(self) -> str:
        return f"no answer for {self.waited_s:.1f} s, {self.allowed_s:.3g} s are allowed"


class ResponseTimer:
    """Times every wait on the link. Written by the thread that uses the link, read by any; one watcher may forgive.

    usual_s: what an answer may take, or TIMES_USUAL the newest ones' median where that is more; longest_s: never more
    than this, and the first `warm` answers may take that long.
    """

    def __init__(self, usual_s: float, longest_s: float, warm: int) -> None:
        self._usual_s, self._longest_s, self._warm = usual_s, longest_s, warm
        self._took_s: deque[float] = deque(maxlen=HISTORY)
        self._wait: tuple[float, float, float] | None = None
        self._forgiven_s = 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Inside, the mesh is waited for."""
        self._wait = (time.monotonic(), self._allowed_s(), self._forgiven_s)
        try:
            yield
        finally:
            self._wait = None

    def answered(self, took_s: float) -> None:
        """An answer came."""
        self._warm -= 1
        self._took_s.append(took_s)

    def overdue(self, now_s: float) -> Overdue | None:
        wait = self._wait
        if wait is None:
            return None
        start_s, allowed_s, forgiven_s = wait
        waited_s = now_s - start_s - (self._forgiven_s - forgiven_s)
        return None if waited_s < allowed_s else Overdue(waited_s, allowed_s)

    def forgive(self, stopped_s: float) -> None:
        """Nothing could run for so long: the wait that is under way does not count it."""
        self._forgiven_s += stopped_s

    def _allowed_s(self) -> float:
        if self._warm > 0 or not self._took_s:
            return self._longest_s
        return min(max(self._usual_s, MEDIAN_FACTOR * median(self._took_s)), self._longest_s)
