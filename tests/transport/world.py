"""Real ranks: processes that start through a loopback store, run one scenario each and write a report."""

import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch.multiprocessing as mp
from torch.distributed import PrefixStore, Store

from pp1_orchestrator.processes.process_tuning import limit_threads, use_loopback_for_gloo
from pp1_orchestrator.transport.process_groups import Timeouts, Topology
from pp1_orchestrator.transport.tcp_store import LOOPBACK, host_store, join_store
from tests.forkserver import METHOD, forkserver_context

WAIT_S = 240.0

Report = dict[str, Any]


@dataclass(frozen=True)
class RankContext:
    """One rank's view of the world that a test runs."""

    rank: int
    store: Store
    folder: Path

    def topology(self, name: str, mesh_size: int, message_s: float = WAIT_S) -> Topology:
        """Make the groups under their own name, so that one world can make several sets."""
        store = PrefixStore(name, self.store)
        return Topology(store, self.rank, mesh_size, "gloo", Timeouts(WAIT_S, message_s))


Act = Callable[[RankContext], Report]


def run_world(act: Act, ranks: int, folder: Path) -> list[Report]:
    """Every rank's report, in order. A rank that fails ends the others, and its error is raised here."""
    store = host_store(ranks, WAIT_S)
    forkserver_context()
    mp.start_processes(_enter, (act, ranks, store.port, folder), nprocs=ranks, start_method=METHOD)
    return [json.loads(_report(folder, rank).read_text()) for rank in range(ranks)]


def _report(folder: Path, rank: int) -> Path:
    return folder / f"report-{rank}.json"


def _point_gloo_outwards() -> None:
    """As on a host whose name resolves to an outer address, or whose user has chosen one: gloo must not stay there."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(a.family == socket.AF_INET and a.address != LOOPBACK for a in addresses):
            os.environ["GLOO_SOCKET_IFNAME"] = name


def _enter(rank: int, act: Act, ranks: int, port: int, folder: Path) -> None:
    limit_threads(1)
    _point_gloo_outwards()
    use_loopback_for_gloo()
    report = act(RankContext(rank, join_store(port, ranks, WAIT_S), folder))
    _report(folder, rank).write_text(json.dumps(report))
