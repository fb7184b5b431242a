"""When each frame is due. Pure arithmetic on monotonic seconds: no thread, no sleep."""

from __future__ import annotations


class FrameClock:
    """Frames one period apart; a late start moves the schedule instead of being caught up.

    However late a caller is, at most two frames are due at one moment.
    """

    def __init__(self, fps: float) -> None:
        self.period_s = 1.0 / fps
        self._due_s: float | None = None

    def due(self, now_s: float) -> float:
        """When the next frame goes out; never longer ago than one period."""
        if self._due_s is None:
            self._due_s = now_s
        self._due_s = max(self._due_s, now_s - self.period_s)
        return self._due_s

    def advance(self) -> None:
        """The due frame went out."""
        if self._due_s is not None:
            self._due_s += self.period_s

    def resume(self, now_s: float) -> None:
        """Frames come after there were none. If the next one was due before now, the schedule starts anew."""
        if self._due_s is not None and self._due_s < now_s:
            self._due_s = None
