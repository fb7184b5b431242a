"""Ends this process as soon as the one that started it is gone, however that one ended: nothing is left behind.

A thread that waits for the parent, and not the kernel's parent-death signal: that one comes when the thread that
started the child ends, which a restart's thread does in the middle of a run.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from multiprocessing.connection import wait

log = logging.getLogger(__name__)


def end_with_parent(exit_code: int) -> None:
    """Begin to watch, in a started child process. Does nothing in a process that was not started by another one."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    threading.Thread(target=_watch, args=(parent.sentinel, exit_code), name="parent-watch", daemon=True).start()


def _watch(sentinel: int, exit_code: int) -> None:
    wait([sentinel])
    log.error("rank 0 is gone")
    # Whatever this process is in the middle of, nobody is left to finish it for.
    os._exit(exit_code)
