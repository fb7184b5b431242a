"""The supervisor's order of events at its edges: a stop while the mesh is coming up, or while it is being checked."""

import multiprocessing
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, cast

import pytest

from pp1_orchestrator.errors import MeshError
from pp1_orchestrator.event_bus import EventBus
from pp1_orchestrator.layouts.base import Layout, Mesh
from pp1_orchestrator.layouts.process_handle import RankProcess
from pp1_orchestrator.supervision.supervisor import Supervisor
from pp1_orchestrator.telemetry.metrics import Metrics
from pp1_orchestrator.transport.link import MeshLink
from tests.planning.factories import settings, shipped

LONG_S = 60


class SleepingMesh(Mesh):
    """One process that sleeps. `connect` returns once the mesh has been stopped, as one that is stopped late does."""

    def __init__(self) -> None:
        self._process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(LONG_S,))
        self._process.start()
        self.connecting, self.stopped = threading.Event(), threading.Event()

    @property
    def processes(self) -> Mapping[int, RankProcess]:
        return {1: self._process}

    def connect(self, timer: object, on_duplicate: object) -> MeshLink:
        self.connecting.set()
        assert self.stopped.wait(LONG_S)
        return cast(MeshLink, None)

    def ranks(self) -> dict[str, dict[str, Any]]:
        return {}

    def memory(self) -> dict[str, dict[str, int]]:
        return {}

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def stop(self, shutdown: object, timeout_s: float) -> None:
        self.kill()
        self.stopped.set()


class SleepingLayout(Layout):
    mesh: SleepingMesh

    def start(self, folder: object, generation: int) -> SleepingMesh:
        SleepingLayout.mesh = SleepingMesh()
        return self.mesh


def supervise() -> Supervisor:
    made = settings("run=bench", "run.restarts=3")
    return Supervisor(made, shipped(made), SleepingLayout, Metrics(), EventBus(), None)


def test_a_mesh_that_is_stopped_while_it_comes_up_is_not_watched_afterwards(caplog):
    supervisor = supervise()
    connecting = threading.Thread(target=supervisor.connect)
    connecting.start()
    assert SleepingLayout.mesh.connecting.wait(LONG_S)
    supervisor.stop(None, 0.0)
    connecting.join()
    for thread in threading.enumerate():
        if thread.name == "mesh-watchdog":
            thread.join()
    assert "ending the whole mesh" not in caplog.text


def test_a_stop_in_the_middle_of_a_check_hides_no_failure():
    """The stop comes between any two lines of `check`, as from another thread."""
    supervisor = supervise()
    SleepingLayout.mesh.stopped.set()
    supervisor.connect()
    SleepingLayout.mesh.kill()
    for thread in threading.enumerate():
        if thread.name == "mesh-watchdog":
            thread.join()
    lines = []

    def trace(frame, event, _):
        if frame.f_code is not Supervisor.check.__code__:
            return None
        lines.append(event)
        if lines.count("line") == 2:
            sys.settrace(None)
            frame.f_trace = None
            supervisor.stop(None, 0.0)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with pytest.raises(MeshError, match="rank 1 ended"):
            supervisor.check()
    finally:
        sys.settrace(before)
    assert lines.count("line") == 2
