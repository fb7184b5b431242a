"""Ends this process as soon as its parent has ended, in whatever way, so that no rank is left behind.

A thread waits for the parent. The kernel's parent-death signal would come when the thread that started the child ends,
and a restart's thread ends in the middle of a run.
"""

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable
from multiprocessing.connection import wait

import psutil

log = logging.getLogger(__name__)


def exit_with_parent(exit_code: int) -> None:
    """Watch the parent of a child of `multiprocessing`. Does nothing in any other process."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        _watch(lambda: wait([parent.sentinel]), "rank 0", exit_code)


def exit_with(pid: int, exit_code: int) -> None:
    """Watch any process of this host."""
    _watch(lambda: _wait_for(pid), f"process {pid}", exit_code)


def _wait_for(pid: int) -> None:
    try:
        psutil.Process(pid).wait()
    except psutil.NoSuchProcess:
        log.debug("process %d was gone before it was watched", pid)


def _watch(wait_for_end: Callable[[], object], name: str, exit_code: int) -> None:
    def run() -> None:
        wait_for_end()
        log.error("%s is gone", name)
        os._exit(exit_code)  # without clean-up, which could wait for other ranks

    threading.Thread(target=run, name="parent-watch", daemon=True).start()
