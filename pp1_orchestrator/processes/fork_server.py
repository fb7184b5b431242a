"""The helper of `multiprocessing` that forks mesh ranks: what they import is imported there once.

Started as soon as the settings are checked, it imports at the same time as rank 0. Imports neither torch nor models.
"""

import multiprocessing
import os
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext

from pp1_orchestrator.processes.signals import signals_blocked

PRELOAD = ["pp1_orchestrator.__main__", "pp1_orchestrator.mesh.process"]
TEXT_ENCODER = "transformers.models.umt5.modeling_umt5"
"""What a leader that encodes prompts needs as well, and what takes seconds to import."""


def fork_context(encodes: bool = False) -> ForkServerContext:
    """Starts processes by the helper. One helper serves a whole program: whoever starts it says what it imports.

    encodes: a rank is going to have a text encoder.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOAD, TEXT_ENCODER] if encodes else PRELOAD)
    return context


def start_fork_server(threads: int, encodes: bool) -> None:
    """Start the helper unless it is there. It ends with this process. threads: of each rank, which torch reads."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    fork_context(encodes)
    resource_tracker.ensure_running()  # starting it later would unblock the signals
    with signals_blocked():
        forkserver.ensure_running()
