"""Watches the processes of one mesh. When one ends, or a wait lasts too long, it kills the whole mesh.

Tensor parallelism can't continue without a rank, and a rank that waits for a dead one would wait until its own time
limit. With all ranks killed, every wait on the link ends.
"""

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

from pp1_orchestrator.layouts.base import Mesh
from pp1_orchestrator.layouts.process_handle import RankProcess, describe_exit
from pp1_orchestrator.polling_thread import PollingThread
from pp1_orchestrator.processes.stack_dumps import StackReport, dump_all
from pp1_orchestrator.transport.response_timer import ResponseTimer
from pp1_orchestrator.types import RestartReason

log = logging.getLogger(__name__)
POLL_S = 0.1
GRACE_S = 0.5
"""Longest time from the end of a rank that lost its peer to the end of that peer, on a busy machine."""


@dataclass(frozen=True, slots=True)
class MeshFailure:
    """Why a mesh had to be ended. text: for clients; detail: for the log only; rank: the one that ended, if known."""

    reason: RestartReason
    text: str
    detail: str = ""
    rank: int | None = None


class MeshWatchdog(PollingThread):
    """Watches until closed. folder: the run's, for stack dumps; None: no dumps."""

    def __init__(self, mesh: Mesh, timer: ResponseTimer, folder: Path | None) -> None:
        self._mesh, self._processes = mesh, mesh.processes
        self._timer, self._folder = timer, folder
        self.failure: MeshFailure | None = None
        self._ranks = {process.sentinel: rank for rank, process in self._processes.items()}
        self._ready: list[object] = []
        self._wake, self._closing = os.pipe()
        super().__init__("mesh-watchdog", POLL_S)

    def close(self, grace_s: float = 0.0) -> None:
        """Stop watching. Call once, and before the mesh is ended on purpose.

        grace_s: how long to wait for a process that is about to end.
        """
        self._thread.join(grace_s)
        os.close(self._closing)
        self._thread.join()
        os.close(self._wake)

    def _wait(self) -> bool:
        self._ready = list(wait([self._wake, *self._ranks], POLL_S))
        return bool(self._ready)

    def _poll(self, now_s: float, suspended_s: float) -> bool:
        self._timer.exclude(suspended_s)
        overdue = self._timer.overdue(now_s)
        if overdue is not None:
            self._end(diagnose_hang(self._processes, str(overdue), self._folder))
        return overdue is None

    def _run(self) -> None:
        super()._run()
        if dead := [rank for sentinel, rank in self._ranks.items() if sentinel in self._ready]:
            self._end(self._diagnose_exit(self._with_lost_peers(dead)))

    def _with_lost_peers(self, dead: list[int]) -> list[int]:
        """If all of these ranks ended because they lost a peer: them, and that peer once it has ended too."""
        end = time.monotonic() + GRACE_S
        while all(self._mesh.lost_peer(rank) for rank in dead):
            others = [sentinel for sentinel, rank in self._ranks.items() if rank not in dead]
            if not (found := wait(others, max(0.0, end - time.monotonic()))):
                break
            dead = [*dead, *(rank for sentinel, rank in self._ranks.items() if sentinel in found)]
        return dead

    def _diagnose_exit(self, dead: list[int]) -> MeshFailure:
        """Blame a rank that left no reason, if there is one: the others may have ended because of it."""
        for rank in dead:
            self._processes[rank].join()
        reasons = {rank: self._mesh.exit_reason(rank) for rank in dead}
        rank = min(dead, key=lambda rank: (bool(reasons[rank]), self._mesh.lost_peer(rank), rank))
        text = f"rank {rank} {describe_exit(self._processes[rank])}"
        if reasons[rank]:
            return MeshFailure("error", f"{text}: {reasons[rank]}", rank=rank)
        return MeshFailure("death", text, rank=rank)

    def _end(self, failure: MeshFailure) -> None:
        self.failure = failure
        log.error("%s%s; ending the whole mesh", failure.text, failure.detail)
        for process in self._processes.values():
            process.kill()


def diagnose_hang(processes: Mapping[int, RankProcess], waited: str, folder: Path | None) -> MeshFailure:
    """Dump the stacks of a mesh that hangs and name the suspect. waited: what was waited for, in words."""
    if folder is None:
        return MeshFailure("hang", f"the mesh hangs: {waited}")
    pids = {rank: process.pid for rank, process in processes.items() if process.pid is not None}
    try:
        report = dump_all(folder, "hang", pids)
    except OSError as error:
        return MeshFailure("hang", f"the mesh hangs: {waited}", f"; its stacks can't be written: {error}")
    places = "".join(f"; rank {rank} is at {place}" for rank, place in report.busy.items())
    return MeshFailure("hang", f"{_suspect(report)}: {waited}", f"{places}; stacks of all ranks are in {report.folder}")


def _suspect(report: StackReport) -> str:
    """The ranks that the others wait for, as far as that can be known."""
    for ranks, one, several in (
        (report.stopped, "is stopped", "are stopped"),
        (report.silent, "does not even write its stacks", "do not even write their stacks"),
        (list(report.busy), "hangs", "hang"),
    ):
        if ranks:
            numbers = " and ".join(map(str, ranks))
            return f"rank {numbers} {one}" if len(ranks) == 1 else f"ranks {numbers} {several}"
    return "the mesh hangs"
