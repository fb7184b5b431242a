"""Ends this process as soon as its parent has ended, in whatever way, so that no rank is left behind.

A thread waits for the parent. The kernel's parent-death signal would come when the thread that started the child ends,
and a restart's thread ends in the middle of a run.
"""

import logging
import multiprocessing
import os
import threading
from multiprocessing.connection import wait

log = logging.getLogger(__name__)


def exit_with_parent(exit_code: int) -> None:
    """Watch the parent of a child of `multiprocessing`. Does nothing in any other process."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        _watch(parent.sentinel, "rank 0", exit_code)


def exit_with(pid: int, exit_code: int) -> None:
    """Watch any process of this host. Needs Linux. Raises ProcessLookupError when there is none."""
    _watch(os.pidfd_open(pid), f"process {pid}", exit_code)


def _watch(sentinel: int, name: str, exit_code: int) -> None:
    def run() -> None:
        wait([sentinel])
        log.error("%s is gone", name)
        os._exit(exit_code)  # without clean-up, which could wait for other ranks

    threading.Thread(target=run, name="parent-watch", daemon=True).start()
