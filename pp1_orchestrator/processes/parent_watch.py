"""Ends this process as soon as the one that started it is gone, however that one ended: nothing is left behind.

A thread that waits for the parent, and not the kernel's parent-death signal: that one comes when the thread that
started the child ends, which a restart's thread does in the middle of a run.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable
from multiprocessing.connection import wait

import psutil

log = logging.getLogger(__name__)


def exit_with_parent(exit_code: int) -> None:
    """Begin to watch, in a started child process. Does nothing in a process that was not started by another one."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        _watch(lambda: wait([parent.sentinel]), "rank 0", exit_code)


def exit_with(pid: int, exit_code: int) -> None:
    """Begin to watch any process of this host."""
    _watch(lambda: _wait_for(pid), f"process {pid}", exit_code)


def _wait_for(pid: int) -> None:
    try:
        psutil.Process(pid).wait()
    except psutil.NoSuchProcess:
        log.debug("process %d was gone before it was watched", pid)


def _watch(wait_for_end: Callable[[], object], who: str, exit_code: int) -> None:
    def run() -> None:
        wait_for_end()
        log.error("%s is gone", who)
        # Whatever this process is in the middle of, nobody is left to finish it for.
        os._exit(exit_code)

    threading.Thread(target=run, name="parent-watch", daemon=True).start()
