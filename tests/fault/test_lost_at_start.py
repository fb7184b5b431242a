"""A rank that ends during the rendezvous is noticed within a second, and the next mesh can start."""

import os
import signal
import threading
import time

import pytest
import torch

from pp1_orchestrator.errors import MeshError
from pp1_orchestrator.layouts.spawn import SpawnedLayout
from pp1_orchestrator.transport.rendezvous import fetch
from pp1_orchestrator.transport.tcp_store import join_store
from tests.fault.waiting_ranks import RANKS, nobody_joins, one_joins
from tests.system.in_process import make_settings
from tests.timing import scaled

DETECT_S = 1.0
"""On an idle machine."""
WAIT_S = 120


def connect_and_kill(mesh, rank):
    """Kill a rank when all have loaded and rank 0 waits for the groups; what rank 0 says, and how soon."""
    said = []

    def connect():
        try:
            mesh.connect()
        except MeshError as error:
            said.extend((time.monotonic(), str(error)))

    thread = threading.Thread(target=connect)
    thread.start()
    seen = join_store(mesh._host.port, RANKS + 1, WAIT_S)
    for other in range(1, RANKS + 1):
        fetch(seen, "loaded", other)
    time.sleep(0.3)  # rank 0 looks each 0.02 s, and is then where it waits
    killed = time.monotonic()
    os.kill(mesh.processes[rank].pid, signal.SIGKILL)
    thread.join(WAIT_S)
    assert said, "rank 0 still waits"
    return said[1], said[0] - killed


@pytest.mark.parametrize(("main", "rank"), [(nobody_joins, 1), (one_joins, 2)])
def test_a_rank_that_is_killed_is_noticed_within_a_second(main, rank):
    settings, config = make_settings("layout=cpu", f"layout.mesh_ranks={RANKS}")
    mesh = SpawnedLayout(settings, config, main).start(None, 0)
    try:
        said, took_s = connect_and_kill(mesh, rank)
        assert said == f"rank {rank} ended with exit code -9 before it had joined"
        assert took_s < scaled(DETECT_S)
    finally:
        mesh.kill()
        mesh.stop(None, 0.0)
    assert not torch.distributed.is_initialized()
    after = SpawnedLayout(settings, config).start(None, 0)
    try:
        assert after.connect()
    finally:
        after.stop(None, 0.0)
