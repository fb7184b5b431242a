"""Makes process groups on a thread of their own: a backend's wait for a rank that has ended can't be cut short.

It can only be left alone, until its own time limit ends it. Knows nothing of why a rank ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from pp1_orchestrator.errors import MeshError, PeerError, first_line
from pp1_orchestrator.transport.groups import Topology, forget_groups

POLL_S = 0.02
GRACE_S = 0.2
"""A store or socket that ended with a rank lets the thread go within this, nearly always."""


def join_groups(make: Callable[[], Topology], dead: Callable[[], Mapping[int, str]], deadline_s: float) -> Topology:
    """`make()`, unless a rank ends before. Raises MeshError; the next groups can then be made.

    PeerError: nobody has ended, and it was not done within deadline_s.
    """
    attempt, end = _Attempt(make), time.monotonic() + deadline_s
    while not attempt.done.wait(POLL_S) and time.monotonic() < end:
        if dead():
            attempt.done.wait(GRACE_S)
            break
    return attempt.take(dead(), deadline_s)


class _Attempt:
    def __init__(self, make: Callable[[], Topology]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._made: Topology | None = None
        self._error: Exception | None = None
        self._left_alone = False
        self.done = threading.Event()
        threading.Thread(target=self._run, name="join-groups", daemon=True).start()

    def take(self, dead: Mapping[int, str], deadline_s: float) -> Topology:
        with self._lock:
            if self._made is not None:
                return self._made
            self._left_alone = not self.done.is_set()
            forget_groups()
        for rank, how in dead.items():
            raise MeshError(f"rank {rank} {how} before it had joined") from self._error
        if self._error is None:
            raise PeerError(f"the process groups were not made within {deadline_s:g} s")
        raise MeshError(f"the process groups could not be made: {first_line(self._error)}") from self._error

    def _run(self) -> None:
        try:
            made = self._make()
        except Exception as error:  # noqa: BLE001 - the thread's boundary: whoever waits is told
            self._error = error
        else:
            with self._lock:
                self._made = None if self._left_alone else made
                if self._left_alone:
                    forget_groups()
        self.done.set()
