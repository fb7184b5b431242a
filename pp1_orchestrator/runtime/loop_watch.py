"""Reports an event loop that does not come round: whoever blocks it stands in the stacks that are written then.

A thread of its own, since the loop can't tell. It reports and does no more: /healthz is silent by then, too.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from pathlib import Path

from pp1_orchestrator.polling import PollingThread, SuspendDetector
from pp1_orchestrator.runtime import stacks

log = logging.getLogger(__name__)
EVERY_S = 0.5


class LoopWatch(PollingThread):
    """Watches until closed, which must be before the loop is closed. limit_s: how long a round may take."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit_s: float, folder: Path) -> None:
        self._loop, self._limit_s, self._folder = loop, limit_s, folder
        super().__init__("loop-watch", EVERY_S)

    def _poll(self, now_s: float, suspended_s: float) -> bool:
        round_made, detector = threading.Event(), SuspendDetector(self._limit_s, now_s)
        try:
            self._loop.call_soon_threadsafe(round_made.set)
        except RuntimeError:  # the loop has been closed
            return False
        while not (in_time := round_made.wait(self._limit_s)) and detector.suspended_s(time.monotonic()):
            pass  # this process was suspended: the loop gets as long again
        if in_time or self._closed.is_set():
            return True
        self._report()
        while not round_made.wait(EVERY_S) and not self._closed.is_set():
            pass
        log.warning("the event loop was blocked for %.1f s", time.monotonic() - now_s)
        return True

    def _report(self) -> None:
        try:
            found = stacks.take(self._folder, "blocked", {})
        except OSError as error:
            log.error("the event loop is blocked; its stack can't be written: %s", error)
        else:
            log.error("the event loop has been blocked for %g s; stacks are in %s", self._limit_s, found.folder)
