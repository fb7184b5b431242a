"""The helper of `multiprocessing` that forks mesh ranks: what they import is imported there once.

Started as soon as the settings are checked, it imports at the same time as rank 0. Imports neither torch nor models.
"""

import multiprocessing
import os
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext

from pp1_orchestrator.processes.signals import signals_blocked

PRELOAD = ["pp1_orchestrator.__main__", "pp1_orchestrator.mesh.process"]


def fork_context() -> ForkServerContext:
    """Starts processes by the helper. One helper serves a whole program: whoever starts it says what it imports."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    return context


def start_fork_server(threads: int) -> None:
    """Start the helper unless it is there. It ends with this process. threads: of each rank, which torch reads."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    fork_context()
    resource_tracker.ensure_running()  # starting it later would unblock the signals
    with signals_blocked():
        forkserver.ensure_running()
