"""Reports an event loop that does not come round: whoever blocks it stands in the stacks that are written then.

A thread of its own, since the loop can't tell. It reports and does no more: /healthz is silent by then, too.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from pathlib import Path

from pp1_orchestrator.runtime import stacks
from pp1_orchestrator.stopped_time import Looks

log = logging.getLogger(__name__)
EVERY_S = 0.5


class LoopWatch:
    """Watches until closed. Made anywhere; limit_s: how long a round may take."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit_s: float, folder: Path) -> None:
        self._loop, self._limit_s, self._folder = loop, limit_s, folder
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="loop-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Before the loop is closed."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.wait(EVERY_S):
            round_made, start = threading.Event(), time.monotonic()
            looks = Looks(self._limit_s, start)
            try:
                self._loop.call_soon_threadsafe(round_made.set)
            except RuntimeError:  # the loop has been closed
                return
            while not (in_time := round_made.wait(self._limit_s)) and looks.stopped_s(time.monotonic()):
                pass  # this process was stopped: the loop gets as long again
            if in_time or self._closed.is_set():
                continue
            self._report()
            while not round_made.wait(EVERY_S) and not self._closed.is_set():
                pass
            log.warning("the event loop was blocked for %.1f s", time.monotonic() - start)

    def _report(self) -> None:
        try:
            found = stacks.take(self._folder, "blocked", {})
        except OSError as error:
            log.error("the event loop is blocked; its stack can't be written: %s", error)
        else:
            log.error("the event loop has been blocked for %g s; stacks are in %s", self._limit_s, found.folder)
