"""The process of a mesh rank: a child of this process, or one that another program has started."""

import os
import signal
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess


class ForeignProcess:
    """A process that another program has started, such as torchrun: what rank 0 needs of it, as in `BaseProcess`.

    Needs Linux. Raises ProcessLookupError when the process no longer exists. Only its parent can know the exit code.
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


RankProcess = BaseProcess | ForeignProcess


def describe_exit(process: RankProcess) -> str:
    """How a process has ended, in words."""
    return "ended" if process.exitcode is None else f"ended with exit code {process.exitcode}"
