"""Reports an event loop that does not come round: whoever blocks it stands in the stacks that are written then.

A thread of its own, since the loop can't tell. It reports and does no more: /healthz is silent by then, too.

Watches what rank 0 does itself and nobody can cut short: decoding, and in one process generating.

What takes too long makes the process unhealthy, with its stacks on the disk, and it is well again if it goes on. What
takes longer than anything may ends the process: it can't be helped from inside.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pp1_orchestrator.events import EventBus
from pp1_orchestrator.polling import PollingThread, SuspendDetector
from pp1_orchestrator.processes import stack_dumps as stacks
from pp1_orchestrator.transport.response_timer import Overdue, ResponseTimer

log = logging.getLogger(__name__)
EVERY_S = 0.5


class EventLoopWatchdog(PollingThread):
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
            found = stacks.dump_all(self._folder, "blocked", {})
        except OSError as error:
            log.error("the event loop is blocked; its stack can't be written: %s", error)
        else:
            log.error("the event loop has been blocked for %g s; stacks are in %s", self._limit_s, found.folder)


EXIT_FAILED = 1
POLL_S, TELL_S = 0.1, 0.5
"""How often it looks, and how long those that listen have to hear of the end."""


class ProcessWatchdog(PollingThread):
    """A thread that watches until closed. clocks: what is done, in a word, and its clock; folder: the run's."""

    def __init__(
        self,
        clocks: Callable[[], Mapping[str, ResponseTimer]],
        longest_s: float,
        events: EventBus,
        folder: Path | None,
    ) -> None:
        self._clocks, self._longest_s, self._events, self._folder = clocks, longest_s, events, folder
        self._stuck: str | None = None
        super().__init__("self-watch", POLL_S)

    @property
    def stuck(self) -> str | None:
        """What takes too long at this moment, in one line."""
        return self._stuck

    def _poll(self, now_s: float, suspended_s: float) -> bool:
        self._forgive(suspended_s)
        found = self._overdue(now_s)
        if found is None:
            if self._stuck is not None:
                log.warning("rank 0 goes on")
            self._stuck = None
            return True
        doing, overdue = found
        if self._stuck is None:
            self._stuck = f"{doing} hangs on rank 0: {overdue}"
            self._report()
            self._detector.restart(time.monotonic())  # writing stacks takes time
        if overdue.waited_s >= self._longest_s:
            self._end(f"{doing} hangs on rank 0: {overdue}")
        return True

    def _forgive(self, stopped_s: float) -> None:
        for clock in self._clocks().values():
            clock.exclude(stopped_s)

    def _overdue(self, now_s: float) -> tuple[str, Overdue] | None:
        looked = ((doing, clock.overdue(now_s)) for doing, clock in self._clocks().items())
        return next(((doing, overdue) for doing, overdue in looked if overdue is not None), None)

    def _report(self) -> None:
        if self._folder is None:
            log.error("%s", self._stuck)
            return
        try:
            log.error("%s; stacks are in %s", self._stuck, stacks.dump_all(self._folder, "hang", {}).folder)
        except OSError as error:
            log.error("%s; its stacks can't be written: %s", self._stuck, error)

    def _end(self, text: str) -> None:
        """The mesh's ranks end with this process."""
        self._events.publish("failed", reason=text)
        self._closed.wait(TELL_S)
        log.error("failed: %s", text)
        logging.shutdown()
        os._exit(EXIT_FAILED)
