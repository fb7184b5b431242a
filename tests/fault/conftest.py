"""For tests that ask for it, mesh ranks of their own process are forked from one that has done their imports."""

import multiprocessing

import pytest

from pp1_orchestrator.runtime.layouts import spawned

MAIN = "pp1_orchestrator.runtime.mesh_process"


@pytest.fixture
def quick_ranks(monkeypatch):
    """Processes as before, but for the seconds that each spends on imports. That one has ended is known a little later:
    not for tests that look at which rank was first."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([MAIN])
    monkeypatch.setattr(spawned.mp, "get_context", lambda method: context)
