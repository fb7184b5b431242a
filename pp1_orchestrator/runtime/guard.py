"""Watches one mesh while it runs: a process that ends is seen at once, and then the whole mesh is ended.

Tensor parallelism can't go on without a rank, and a rank that waits for a dead one would wait for long; with all of
them killed every wait on the link ends at once.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from pp1_orchestrator.measure.catalogue import RestartReason

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loss:
    """Why a mesh had to be ended."""

    reason: RestartReason
    text: str


class MeshGuard:
    """A thread that waits for the end of any of the processes, until closed."""

    def __init__(self, processes: Mapping[int, BaseProcess]) -> None:
        self._processes = processes
        self._loss: Loss | None = None
        self._wake, self._closing = os.pipe()
        self._thread = threading.Thread(target=self._run, name="mesh-guard", daemon=True)
        self._thread.start()

    @property
    def loss(self) -> Loss | None:
        """What was found, if anything was."""
        return self._loss

    def close(self) -> None:
        """Watch no more. Once, and before the mesh is ended on purpose."""
        os.close(self._closing)
        self._thread.join()
        os.close(self._wake)

    def _run(self) -> None:
        ranks = {process.sentinel: rank for rank, process in self._processes.items()}
        ready = wait([self._wake, *ranks])
        if self._wake not in ready:
            self._end(Loss("death", self._words([ranks[found] for found in ready if isinstance(found, int)])))

    def _words(self, dead: list[int]) -> str:
        rank = min(dead)
        process = self._processes[rank]
        process.join()
        return f"rank {rank} ended with exit code {process.exitcode}"

    def _end(self, loss: Loss) -> None:
        self._loss = loss
        log.error("%s: the whole mesh is ended", loss.text)
        for process in self._processes.values():
            process.kill()
