"""A mesh of processes on this host that meet rank 0 in its store, whoever has started them.

A mesh rank's process, whoever has started it.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Protocol

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.contract import wire
from pp1_orchestrator.errors import MeshError
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


class RankProcess(Protocol):
    """What rank 0 needs of it; a started child of its own (`multiprocessing.Process`) is one."""

    @property
    def pid(self) -> int | None: ...

    @property
    def sentinel(self) -> int:
        """Ready to be read once the process has ended (`multiprocessing.connection.wait`)."""
        ...

    @property
    def exitcode(self) -> int | None:
        """None while it lives; afterwards too, where only its parent can know."""
        ...

    def is_alive(self) -> bool: ...

    def kill(self) -> None: ...

    def join(self, timeout: float | None = None) -> None: ...


def how_it_ended(process: RankProcess) -> str:
    """In words, of a process that has."""
    return "ended" if process.exitcode is None else f"ended with exit code {process.exitcode}"


class ForeignProcess:
    """A rank that another program has started, such as torchrun. Linux alone lets one wait for such a process."""

    exitcode = None

    def __init__(self, pid: int) -> None:
        """Raises ProcessLookupError when it has ended and been forgotten."""
        self.pid = pid
        self.sentinel = os.pidfd_open(pid)

    def is_alive(self) -> bool:
        return not wait([self.sentinel], 0)

    def kill(self) -> None:
        """Of this very process, even where its number has been given to another one."""
        signal.pidfd_send_signal(self.sentinel, signal.SIGKILL)

    def join(self, timeout: float | None = None) -> None:
        wait([self.sentinel], timeout)


log = logging.getLogger(__name__)
Starter = Callable[[int], Mapping[int, RankProcess]]
"""Has the ranks come to the store at a port of this host; their processes by rank."""


class ProcessMesh:
    """Implements `layouts.base.Mesh`."""

    def __init__(self, settings: Settings, folder: Path | None, generation: int, start: Starter) -> None:
        """generation: meshes before this one."""
        self._settings = settings
        self._folder = folder
        self._ranks = range(LEADER, settings.layout.mesh_ranks + 1)
        self._topology: Topology | None = None
        self._link: MeshLink | None = None
        self._memory: dict[str, Components] = {}
        use_loopback_for_gloo()
        # With this mesh the store ends, whoever still waits for one of its keys. It answers while `_store` is waiting.
        self._host = host_store(settings.layout.mesh_ranks + 1, settings.deadlines.start)
        port = self._host.port
        self._store = join_store(port, settings.layout.mesh_ranks + 1, settings.deadlines.start)
        publish(self._store, "fingerprint", STAGE0, fingerprint_rank(settings))
        publish(self._store, "generation", STAGE0, generation)
        self._processes = start(port)

    def connect(self, timer: ResponseTimer | None = None, on_duplicate: Callable[[], None] | None = None) -> MeshLink:
        deadlines = self._settings.deadlines
        wait_for_all(self._store, "agreed", self._ranks, deadlines.start, self._dead)
        wait_for_all(self._store, "loaded", self._ranks, deadlines.start, self._dead)
        self._topology = self._make_groups()
        wait_for_all(self._store, "memory", self._ranks, deadlines.start, self._dead)
        self._memory = {str(rank): fetch(self._store, "memory", rank) for rank in self._ranks}
        self._link = MeshLink(open_channel(self._topology), timer, on_duplicate)
        return self._link

    @property
    def processes(self) -> Mapping[int, RankProcess]:
        return self._processes

    def last_words(self, rank: int) -> str:
        return fetch(self._store, "failed", rank)["reason"] if is_published(self._store, "failed", rank) else ""

    def misses(self, rank: int) -> bool:
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
                self._keep_peaks()
            except MeshError as error:
                log.warning("the mesh could not be told to stop: %s", error)
        self.kill()
        if self._topology is not None:
            self._topology.close()
        if self._folder is not None:
            discard(self._folder, self._pids())

    def _pids(self) -> dict[int, int]:
        return {rank: p.pid for rank, p in self._processes.items() if p.pid is not None}

    def _make_groups(self) -> Topology:
        layout, timeouts = self._settings.layout, group_timeouts(self._settings.deadlines)
        make = partial(Topology, self._store, STAGE0, layout.mesh_ranks, layout.backend, timeouts)
        return make_groups(make, self._dead, self._settings.deadlines.start)

    def _dead(self) -> dict[int, str]:
        """Ranks that ended, and how; first those that could not say why, of which the others may have ended."""
        dead = [rank for rank, process in self._processes.items() if not process.is_alive()]
        dead.sort(key=lambda rank: is_published(self._host, "failed", rank))
        return {rank: how_it_ended(self._processes[rank]) for rank in dead}

    def _join(self, end: float) -> None:
        for process in self._processes.values():
            process.join(max(0.0, end - time.monotonic()))

    def _keep_peaks(self) -> None:
        for rank in self._ranks:
            if is_published(self._store, "peak", rank):
                self._memory.setdefault(str(rank), {})["peak"] = fetch(self._store, "peak", rank)
