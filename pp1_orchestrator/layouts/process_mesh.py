"""A mesh of processes on this host, which meet rank 0 in a TCP store that it hosts.

Knows nothing of how the processes are started.
"""

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.contract import wire
from pp1_orchestrator.errors import MeshError
from pp1_orchestrator.layouts.base import Mesh
from pp1_orchestrator.layouts.process_handle import RankProcess, describe_exit
from pp1_orchestrator.loading.checkpoint import Components
from pp1_orchestrator.mesh.fingerprint import fingerprint_rank
from pp1_orchestrator.processes.process_tuning import use_loopback_for_gloo
from pp1_orchestrator.processes.stack_dumps import discard
from pp1_orchestrator.transport.link import MeshLink
from pp1_orchestrator.transport.process_groups import LEADER, STAGE0, Topology, open_channel
from pp1_orchestrator.transport.rendezvous import (
    fetch,
    group_timeouts,
    is_published,
    make_groups,
    publish,
    wait_for_all,
)
from pp1_orchestrator.transport.response_timer import ResponseTimer
from pp1_orchestrator.transport.tcp_store import host_store, join_store

log = logging.getLogger(__name__)
Starter = Callable[[int], Mapping[int, RankProcess]]
"""Makes the ranks connect to the store at a port of this host, and returns their processes by rank."""


class ProcessMesh(Mesh):
    """A mesh whose ranks are processes. generation: the number of meshes before it."""

    def __init__(self, settings: Settings, folder: Path | None, generation: int, start: Starter) -> None:
        self._settings, self._folder = settings, folder
        self._ranks = range(LEADER, settings.layout.mesh_ranks + 1)
        self._topology: Topology | None = None
        self._link: MeshLink | None = None
        self._memory: dict[str, Components] = {}
        use_loopback_for_gloo()
        # The store ends with this mesh, even while a rank waits for a key. A second client of it, because `_dead` asks
        # for keys while `_store` is waiting.
        self._host = host_store(settings.layout.mesh_ranks + 1, settings.deadlines.start)
        port = self._host.port
        self._store = join_store(port, settings.layout.mesh_ranks + 1, settings.deadlines.start)
        publish(self._store, "fingerprint", STAGE0, fingerprint_rank(settings))
        publish(self._store, "generation", STAGE0, generation)
        self._processes = start(port)

    def connect(self, timer: ResponseTimer | None = None, on_duplicate: Callable[[], None] | None = None) -> MeshLink:
        layout, deadlines = self._settings.layout, self._settings.deadlines
        wait_for_all(self._store, "agreed", self._ranks, deadlines.start, self._dead)
        wait_for_all(self._store, "loaded", self._ranks, deadlines.start, self._dead)
        timeouts = group_timeouts(deadlines)
        make = partial(Topology, self._store, STAGE0, layout.mesh_ranks, layout.backend, timeouts)
        self._topology = make_groups(make, self._dead, deadlines.start)
        wait_for_all(self._store, "memory", self._ranks, deadlines.start, self._dead)
        self._memory = {str(rank): fetch(self._store, "memory", rank) for rank in self._ranks}
        self._link = MeshLink(open_channel(self._topology), timer, on_duplicate)
        return self._link

    @property
    def processes(self) -> Mapping[int, RankProcess]:
        return self._processes

    def exit_reason(self, rank: int) -> str:
        return fetch(self._store, "failed", rank)["reason"] if is_published(self._store, "failed", rank) else ""

    def lost_peer(self, rank: int) -> bool:
        return is_published(self._store, "failed", rank) and fetch(self._store, "failed", rank)["lost_peer"]

    def ranks(self) -> dict[str, dict[str, Any]]:
        layout = self._settings.layout
        return {
            str(rank): {"pid": p.pid, "device": layout.device_of(rank), "state": "up" if p.is_alive() else "down"}
            for rank, p in self._processes.items()
        }

    def memory(self) -> dict[str, Components]:
        return self._memory

    def kill(self) -> None:
        for rank, process in self._processes.items():
            if process.is_alive():
                log.info("ending rank %d", rank)
                process.kill()
        self._join(time.monotonic() + self._settings.deadlines.stop)

    def stop(self, shutdown: wire.EncodedMessage | None, timeout_s: float) -> None:
        end = time.monotonic() + timeout_s
        if shutdown is not None and self._link is not None and not self._dead():
            try:
                self._link.send(shutdown)
                self._join(end)
                for rank in self._ranks:
                    if is_published(self._store, "peak", rank):
                        self._memory.setdefault(str(rank), {})["peak"] = fetch(self._store, "peak", rank)
            except MeshError as error:
                log.warning("the mesh could not be told to stop: %s", error)
        self.kill()
        if self._topology is not None:
            self._topology.close()
        if self._folder is not None:
            discard(self._folder, {rank: p.pid for rank, p in self._processes.items() if p.pid is not None})

    def _dead(self) -> dict[int, str]:
        """Ranks that have ended, and how. First those without a reason: the others may have ended because of them."""
        dead = [rank for rank, process in self._processes.items() if not process.is_alive()]
        dead.sort(key=lambda rank: is_published(self._host, "failed", rank))
        return {rank: describe_exit(self._processes[rank]) for rank in dead}

    def _join(self, end: float) -> None:
        for process in self._processes.values():
            process.join(max(0.0, end - time.monotonic()))
