"""Ctrl-C and SIGTERM: while starting they unwind the start, later they ask the running part to finish.

A second one ends the process where it stands; its mesh ends with it (`runtime.orphan`).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequested(BaseException):
    """Raised in the main thread by a signal; not an Exception, so that no error handling on the way swallows it."""


def raise_stop() -> None:
    raise StopRequested


@dataclass(slots=True)
class Asked:
    """Whether a signal has come."""

    to_stop: bool = False


def end_at_next() -> None:
    """From now on a signal ends this process at once, whatever it is doing. Main thread only."""
    for number in _SIGNALS:
        signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:
    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"ended at the second signal; nothing more is written\n")
    os._exit(0)


@contextmanager
def on_signals(call: Callable[[], None]) -> Iterator[Asked]:
    """Inside, a signal calls `call` in the main thread. The one after it is the last."""
    asked = Asked()

    def handle(number: int, frame: FrameType | None) -> None:
        end_at_next()
        asked.to_stop = True
        call()

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is handle:
                signal.signal(number, handler)


@contextmanager
def signals_held() -> Iterator[None]:
    """Inside, signals wait. Processes started here never get them: a terminal's Ctrl-C would hit their first lines."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
