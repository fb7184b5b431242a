"""How often something may be started anew before it counts as broken for good. Knows nothing of what that is."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence


class RestartBudget:
    """restarts: how many within any window_s. pauses_s: before the first, second … of them; the last one repeats."""

    def __init__(self, restarts: int, window_s: float, pauses_s: Sequence[float]) -> None:
        self._restarts, self._window_s, self._pauses_s = restarts, window_s, pauses_s
        self._spent: deque[float] = deque()

    def spend(self, now_s: float) -> float | None:
        """The pause before one more restart; None when none is left."""
        while self._spent and now_s - self._spent[0] >= self._window_s:
            self._spent.popleft()
        count = len(self._spent)
        if count >= self._restarts:
            return None
        self._spent.append(now_s)
        return self._pauses_s[min(count, len(self._pauses_s) - 1)]

    def __str__(self) -> str:
        return f"{self._restarts} within {self._window_s:g} s are allowed"
