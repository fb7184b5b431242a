"""Processes that tests start, forked by the helper that forks mesh ranks: what they import is there already."""

import multiprocessing
from multiprocessing.context import ForkServerContext
from typing import Final

from pp1_orchestrator.layouts.spawn import FORKSERVER_PRELOAD

METHOD: Final = "forkserver"


def forkserver_context() -> ForkServerContext:
    """One helper serves a whole test run: whoever has it started first must say what it is to import."""
    context = multiprocessing.get_context(METHOD)
    context.set_forkserver_preload(FORKSERVER_PRELOAD)
    return context
