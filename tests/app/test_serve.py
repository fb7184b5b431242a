"""run=serve: what it has started ends with it, whatever ends it."""

import threading

import pytest

from pp1_orchestrator.app.resume import StreamStart
from pp1_orchestrator.app.serve import Web, run_serve
from pp1_orchestrator.app.strategy_registry import Registry
from tests.system.in_process import SMALL, make_settings
from tests.system.program import free_port

WATCHES = {"resource-monitor", "process-watchdog", "mesh-watchdog"}


def test_a_server_that_fails_leaves_no_thread_behind_that_watches(monkeypatch, tmp_path):
    def fail(*_: object) -> None:
        raise RuntimeError("the server failed")

    monkeypatch.setattr(Web, "serve", fail)
    settings, config = make_settings(*SMALL, "run=serve", f"serving.port={free_port()}")
    with pytest.raises(RuntimeError, match="the server failed"):
        run_serve(settings, config, Registry(settings), StreamStart([]), tmp_path)
    assert WATCHES & {thread.name for thread in threading.enumerate()} == set()
