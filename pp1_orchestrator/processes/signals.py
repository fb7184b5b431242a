"""Ctrl-C, SIGTERM, and SIGHUP, which a closed terminal sends. During start-up they unwind it; later they ask what runs
to finish.

A second signal ends the process immediately. Its mesh ends with it (`processes.parent_watch`).
"""

import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(BaseException):
    """Raised in the main thread by a signal. Not an Exception, so that no error handler swallows it."""


def raise_stop() -> None:
    raise StopRequested


@dataclass(slots=True)
class SignalState:
    """received: whether a signal has come."""

    received: bool = False


def _is_ignored(number: int) -> bool:
    """Whether SIGHUP is to be ignored, as `nohup` asks for."""
    return number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN


def ignore_signals() -> None:
    """For a child process: a terminal's signals reach the whole group, and rank 0 ends the others. Main thread only."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def exit_at_next_signal() -> None:
    """Make the next signal end this process immediately. Main thread only."""
    for number in _SIGNALS:
        if not _is_ignored(number):
            signal.signal(number, _exit)


def _exit(number: int, frame: FrameType | None) -> None:
    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"ended at the second signal; nothing more is written\n")
    os._exit(0)


@contextmanager
def on_signals(call: Callable[[], None]) -> Generator[SignalState]:
    """Inside, the first signal calls `call` in the main thread, and the second one ends the process."""
    state = SignalState()

    def handle(number: int, frame: FrameType | None) -> None:
        exit_at_next_signal()
        state.received = True
        call()

    heard = [number for number in _SIGNALS if not _is_ignored(number)]
    before = {number: signal.signal(number, handle) for number in heard}
    try:
        yield state
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is handle:
                signal.signal(number, handler)


@contextmanager
def signals_blocked() -> Generator[None]:
    """Inside, signals are blocked, and stay so in processes that are started here: Ctrl-C reaches the whole group."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
