"""Ctrl-C and SIGTERM: while starting they unwind the start, later they ask the running part to finish."""

from __future__ import annotations

import signal
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


@contextmanager
def on_signals(call: Callable[[], None]) -> Iterator[Asked]:
    """Inside, a signal calls `call` in the main thread."""
    asked = Asked()

    def handle(number: int, frame: FrameType | None) -> None:
        asked.to_stop = True
        call()

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def signals_held() -> Iterator[None]:
    """Inside, signals wait. Processes started here never get them: a terminal's Ctrl-C would hit their first lines."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
