"""What open streams change in the program's process, and how it is restored. Knows nothing of what a stream is."""

import contextlib
import os
import sys
import threading
from collections.abc import Generator

import torch

from pp1_orchestrator.errors import Stage0Error
from pp1_orchestrator.transport.process_groups import in_use

VARIABLES = ("OMP_NUM_THREADS", "GLOO_SOCKET_IFNAME")
"""Of the environment, which a stream sets for its ranks."""
TAKEN = (
    "this program has process groups of torch.distributed already, such as those of another open stream; close it "
    "first, or take layout=inline"
)


class ProcessState:
    """What streams change in their process: torch's threads, the environment, and the hook for exceptions, to which
    torch adds with each process group. After the last of the open streams it is as before the first."""

    def __init__(self) -> None:
        self._lock, self._users, self._restore = threading.Lock(), 0, contextlib.ExitStack()
        self._grouped = False
        """A stream is open that has ranks in processes of their own, and so process groups."""

    @contextlib.contextmanager
    def shared(self, *, grouped: bool) -> Generator[None]:
        """Around the life of a stream. grouped: it makes process groups. Raises Stage0Error if there are some."""
        with self._lock:
            if grouped and (self._grouped or in_use()):
                raise Stage0Error(TAKEN)
            self._grouped |= grouped
            if not self._users:
                self._restore.callback(torch.set_num_threads, torch.get_num_threads())
                self._restore.callback(setattr, sys, "excepthook", sys.excepthook)
                for name in VARIABLES:
                    self._restore.callback(_set_variable, name, os.environ.get(name))
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._grouped &= not grouped
                self._users -= 1
                if not self._users:
                    self._restore.close()


def _set_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


PROCESS = ProcessState()
