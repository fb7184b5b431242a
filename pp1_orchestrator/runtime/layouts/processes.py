"""A mesh rank's process, whoever has started it."""

from __future__ import annotations

import os
import signal
from multiprocessing.connection import wait
from typing import Protocol


class RankProcess(Protocol):
    """What rank 0 needs of it; a started child of its own (`multiprocessing.Process`) is one."""

    @property
    def pid(self) -> int | None: ...

    @property
    def sentinel(self) -> int:
        """Ready to be read once the process has ended (`multiprocessing.connection.wait`)."""
        ...

    @property
    def exitcode(self) -> int | None:
        """None while it lives; afterwards too, where only its parent can know."""
        ...

    def is_alive(self) -> bool: ...

    def kill(self) -> None: ...

    def join(self, timeout: float | None = None) -> None: ...


def how_it_ended(process: RankProcess) -> str:
    """In words, of a process that has."""
    return "ended" if process.exitcode is None else f"ended with exit code {process.exitcode}"


class ForeignProcess:
    """A rank that another program has started, such as torchrun. Linux alone lets one wait for such a process."""

    exitcode = None

    def __init__(self, pid: int) -> None:
        """Raises ProcessLookupError when it has ended and been forgotten."""
        self.pid = pid
        self.sentinel = os.pidfd_open(pid)

    def is_alive(self) -> bool:
        return not wait([self.sentinel], 0)

    def kill(self) -> None:
        """Of this very process, even where its number has been given to another one."""
        signal.pidfd_send_signal(self.sentinel, signal.SIGKILL)

    def join(self, timeout: float | None = None) -> None:
        wait([self.sentinel], timeout)
