"""Processes that tests start, forked by the helper that forks mesh ranks: what they import is there already."""

from multiprocessing.context import ForkServerContext
from typing import Final

from pp1_orchestrator.processes.fork_server import fork_context

METHOD: Final = "forkserver"


def forkserver_context() -> ForkServerContext:
    """One helper serves a whole test run: whoever has it started first must say what it is to import."""
    return fork_context()
