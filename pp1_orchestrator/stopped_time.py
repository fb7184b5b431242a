"""How long this process could not run: it was stopped, or its machine was. A wait is no longer for that.

The monotonic clock goes on while a process is stopped, so each deadline would have passed when it goes on, and what is
watched had no time to keep it. Whoever watches was stopped with it, and can tell by how late its own look comes.
"""

from __future__ import annotations

NOTICED_S = 0.5
"""A look that is later than this is late because nothing ran."""


class Looks:
    """Of one watcher, which looks every so often."""

    def __init__(self, every_s: float, now_s: float) -> None:
        self._every_s, self._last_s = every_s, now_s

    def stopped_s(self, now_s: float) -> float:
        """Seconds since the look before in which nothing ran. now_s: monotonic, of this look."""
        late_s = now_s - self._last_s - self._every_s
        self._last_s = now_s
        return late_s if late_s > NOTICED_S else 0.0
