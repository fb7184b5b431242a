"""Watchdogs over rank 0's own process: over work that nothing can interrupt, and over the event loop.

Stalled work makes the process unhealthy and dumps its stacks; it is healthy again when the work continues. Work that
takes longer than any wait may last ends the process. A blocked event loop is only reported: /healthz is silent by then.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pp1_orchestrator.event_bus import EventBus
from pp1_orchestrator.polling_thread import PollingThread, SuspendDetector
from pp1_orchestrator.processes.stack_dumps import dump_all
from pp1_orchestrator.transport.response_timer import ResponseTimer

log = logging.getLogger(__name__)
EXIT_FAILED = 1
PROCESS_POLL_S, LOOP_POLL_S = 0.1, 0.5
NOTIFY_S = 0.5
"""Time for clients to receive the last event before the process ends."""


class ProcessWatchdog(PollingThread):
    """Watches decoding, and in one process also generating.

    Args:
        timers: returns the timer of each kind of work, by what the work is called.
        longest_s: work that takes longer ends the process.
        folder: the run's, for stack dumps. None: no dumps.
        on_hang: is called then instead, once, with why in a line; the process may be another program's.
    """

    def __init__(
        self,
        timers: Callable[[], Mapping[str, ResponseTimer]],
        longest_s: float,
        events: EventBus,
        folder: Path | None,
        on_hang: Callable[[str], None] | None = None,
    ) -> None:
        self._timers, self._longest_s, self._events, self._folder = timers, longest_s, events, folder
        self._on_hang = on_hang or self._exit
        self.stalled_on: str | None = None
        """The work that takes too long now, in one line."""
        super().__init__("process-watchdog", PROCESS_POLL_S)

    def _poll(self, now_s: float, suspended_s: float) -> bool:
        timers = self._timers()
        for timer in timers.values():
            timer.exclude(suspended_s)
        late = [(work, overdue) for work, timer in timers.items() if (overdue := timer.overdue(now_s))]
        if not late:
            if self.stalled_on is not None:
                log.warning("rank 0 has recovered")
            self.stalled_on = None
            return True
        work, overdue = late[0]
        line = f"{work} hangs on rank 0: {overdue}"
        if self.stalled_on is None:
            self.stalled_on = line
            _log_with_stacks(line, self._folder, "hang")
            self._detector.suspended_s(time.monotonic())  # dumping took time: no suspension
        if overdue.waited_s >= self._longest_s:
            self._on_hang(line)
            return False
        return True

    def _exit(self, text: str) -> None:
        """End this process. The mesh's ranks end with it."""
        self._events.publish("failed", reason=text)
        self._closed.wait(NOTIFY_S)
        log.error("failed: %s", text)
        logging.shutdown()
        os._exit(EXIT_FAILED)


class EventLoopWatchdog(PollingThread):
    """Reports a loop whose round takes longer than `limit_s`, with the stack of what blocks it.

    Close it before the loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limit_s: float, folder: Path) -> None:
        self._loop, self._limit_s, self._folder = loop, limit_s, folder
        super().__init__("event-loop-watchdog", LOOP_POLL_S)

    def _poll(self, now_s: float, suspended_s: float) -> bool:
        round_done, detector = threading.Event(), SuspendDetector(self._limit_s, now_s)
        try:
            self._loop.call_soon_threadsafe(round_done.set)
        except RuntimeError:  # the loop has been closed
            return False
        while not (in_time := round_done.wait(self._limit_s)) and detector.suspended_s(time.monotonic()):
            pass  # the loop could not run while this process was suspended: it gets the whole limit again
        if in_time or self._closed.is_set():
            return True
        _log_with_stacks(f"the event loop has been blocked for {self._limit_s:g} s", self._folder, "blocked")
        while not round_done.wait(LOOP_POLL_S) and not self._closed.is_set():
            pass
        log.warning("the event loop was blocked for %.1f s", time.monotonic() - now_s)
        return True


def _log_with_stacks(line: str, folder: Path | None, name: str) -> None:
    """Log an error, and where the stacks of this process have been written."""
    if folder is None:
        log.error("%s", line)
        return
    try:
        log.error("%s; stacks are in %s", line, dump_all(folder, name, {}).folder)
    except OSError as error:
        log.error("%s; its stacks can't be written: %s", line, error)
