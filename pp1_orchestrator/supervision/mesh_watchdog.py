"""Watches one mesh while it runs: a process that ends is seen at once, a wait that is too long when its time is up.
Then the whole mesh is ended.

Tensor parallelism can't go on without a rank, and a rank that waits for a dead one would wait for long; with all of
them killed every wait on the link ends at once.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

from pp1_orchestrator.layouts.base import Mesh
from pp1_orchestrator.layouts.process_mesh import RankProcess, how_it_ended
from pp1_orchestrator.polling import PollingThread
from pp1_orchestrator.processes import stack_dumps as stacks
from pp1_orchestrator.transport.response_timer import ResponseTimer
from pp1_orchestrator.types import RestartReason

log = logging.getLogger(__name__)
POLL_S = 0.1
LOOK_S = 0.5
"""From the end of a rank that misses another one to the end of that one, on a machine that is busy."""


@dataclass(frozen=True, slots=True)
class MeshFailure:
    """Why a mesh had to be ended. text: for everybody; detail: for the log alone; rank: that ended, if one did."""

    reason: RestartReason
    text: str
    detail: str = ""
    rank: int | None = None


class MeshWatchdog(PollingThread):
    """A thread that watches until closed. folder: the run's, for the ranks' stacks; None: they are not written."""

    def __init__(self, mesh: Mesh, clock: ResponseTimer, folder: Path | None) -> None:
        self._mesh, self._processes = mesh, mesh.processes
        self._clock, self._folder = clock, folder
        self._loss: MeshFailure | None = None
        self._ranks = {process.sentinel: rank for rank, process in self._processes.items()}
        self._ready: list[object] = []
        self._wake, self._closing = os.pipe()
        super().__init__("mesh-guard", POLL_S)

    @property
    def loss(self) -> MeshFailure | None:
        """What was found, if anything was."""
        return self._loss

    def close(self, look_s: float = 0.0) -> None:
        """Watch no more. Once, and before the mesh is ended on purpose. look_s: for a process that is about to end."""
        self._thread.join(look_s)
        os.close(self._closing)
        self._thread.join()
        os.close(self._wake)

    def _wait(self) -> bool:
        self._ready = list(wait([self._wake, *self._ranks], POLL_S))
        return bool(self._ready)

    def _poll(self, now_s: float, suspended_s: float) -> bool:
        self._clock.exclude(suspended_s)
        overdue = self._clock.overdue(now_s)
        if overdue is not None:
            self._end(diagnose_hang(self._processes, str(overdue), self._folder))
        return overdue is None

    def _run(self) -> None:
        super()._run()
        if dead := [rank for sentinel, rank in self._ranks.items() if sentinel in self._ready]:
            self._end(self._death(self._with_missed(dead)))

    def _with_missed(self, dead: list[int]) -> list[int]:
        """Where all of them only missed another rank: with that one, whose end is about to be seen, too."""
        end = time.monotonic() + LOOK_S
        while all(self._mesh.misses(rank) for rank in dead):
            others = [sentinel for sentinel, rank in self._ranks.items() if rank not in dead]
            if not (found := wait(others, max(0.0, end - time.monotonic()))):
                break
            dead = [*dead, *(rank for sentinel, rank in self._ranks.items() if sentinel in found)]
        return dead

    def _death(self, dead: list[int]) -> MeshFailure:
        """A rank that could still say why it ends may have ended because of one that could not."""
        for rank in dead:
            self._processes[rank].join()
        words = {rank: self._mesh.last_words(rank) for rank in dead}
        rank = min(dead, key=lambda rank: (bool(words[rank]), self._mesh.misses(rank), rank))
        text = f"rank {rank} {how_it_ended(self._processes[rank])}"
        return (
            MeshFailure("error", f"{text}: {words[rank]}", rank=rank)
            if words[rank]
            else MeshFailure("death", text, rank=rank)
        )

    def _end(self, loss: MeshFailure) -> None:
        self._loss = loss
        log.error("%s%s; the whole mesh is ended", loss.text, loss.detail)
        for process in self._processes.values():
            process.kill()


def diagnose_hang(processes: Mapping[int, RankProcess], words: str, folder: Path | None) -> MeshFailure:
    """A mesh that does not go on, with the stacks of its ranks, which are still there. words: what was waited for."""
    if folder is None:
        return MeshFailure("hang", f"the mesh hangs: {words}")
    pids = {rank: process.pid for rank, process in processes.items() if process.pid is not None}
    try:
        found = stacks.dump_all(folder, "hang", pids)
    except OSError as error:
        return MeshFailure("hang", f"the mesh hangs: {words}", f"; its stacks can't be written: {error}")
    places = "".join(f"; rank {rank} is at {place}" for rank, place in found.busy.items())
    return MeshFailure("hang", f"{_suspect(found)}: {words}", f"{places}; stacks of all ranks are in {found.folder}")


def _suspect(found: stacks.StackReport) -> str:
    """Who keeps the others waiting, as far as that can be known."""
    for ranks, one, several in (
        (found.stopped, "is stopped", "are stopped"),
        (found.silent, "does not even write its stacks", "do not even write their stacks"),
        (list(found.busy), "hangs", "hang"),
    ):
        if ranks:
            numbers = " and ".join(map(str, ranks))
            return f"rank {numbers} {one}" if len(ranks) == 1 else f"ranks {numbers} {several}"
    return "the mesh hangs"
