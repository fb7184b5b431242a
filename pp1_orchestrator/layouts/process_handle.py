"""The process of a mesh rank: a child of this process, or one that another program has started."""

import os
import signal
from multiprocessing.connection import wait
from typing import Protocol


class RankProcess(Protocol):
    """What rank 0 needs of a process. `multiprocessing.Process` implements it, too."""

    @property
    def pid(self) -> int | None: ...

    @property
    def sentinel(self) -> int:
        """Ready for `multiprocessing.connection.wait` once the process has ended."""
        ...

    @property
    def exitcode(self) -> int | None:
        """None while the process lives, and afterwards where only its parent can know."""
        ...

    def is_alive(self) -> bool: ...

    def kill(self) -> None: ...

    def join(self, timeout: float | None = None) -> None: ...


class ForeignProcess:
    """A process that another program has started, such as torchrun. Needs Linux.

    Raises ProcessLookupError when the process no longer exists.
    """

    exitcode = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.sentinel = os.pidfd_open(pid)

    def is_alive(self) -> bool:
        return not wait([self.sentinel], 0)

    def kill(self) -> None:
        """Kill this process only, even if its pid has been given to another one."""
        signal.pidfd_send_signal(self.sentinel, signal.SIGKILL)

    def join(self, timeout: float | None = None) -> None:
        wait([self.sentinel], timeout)


def describe_exit(process: RankProcess) -> str:
    """How a process has ended, in words."""
    return "ended" if process.exitcode is None else f"ended with exit code {process.exitcode}"
