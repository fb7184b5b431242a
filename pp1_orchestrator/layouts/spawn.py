"""Mesh ranks started by rank 0, which stays in the program's own process.

A helper of `multiprocessing` imports once what a rank needs, and forks for every rank of every mesh: the imports take
longer than all else of a restart, and their memory is shared. It has used no GPU and runs no thread, and ends with
rank 0.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import ClassVar

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.layouts.process_mesh import ProcessMesh
from pp1_orchestrator.mesh import process as mesh_process
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.processes.signals import signals_held
from pp1_orchestrator.transport.process_groups import LEADER

RankMain = Callable[[int, Settings, WanConfig, int, Path | None], None]
IMPORTED_ONCE = ["pp1_orchestrator.__main__", "pp1_orchestrator.mesh.process"]


def spawn_ranks(
    settings: Settings, config: WanConfig, folder: Path | None, main: RankMain, port: int
) -> Mapping[int, BaseProcess]:
    """One process a rank. main: its whole life."""
    context, arguments = multiprocessing.get_context("forkserver"), (settings, config, port, folder)
    context.set_forkserver_preload(IMPORTED_ONCE)
    processes = {
        rank: context.Process(target=main, args=(rank, *arguments), name=f"mesh-{rank}", daemon=True)
        for rank in range(LEADER, settings.layout.mesh_ranks + 1)
    }
    resource_tracker.ensure_running()  # starting it later would let the held signals go
    with signals_held():
        for process in processes.values():
            process.start()
    return processes


class SpawnedLayout:
    """layout=cpu and layout=gpu_…: rank 0 and a tensor-parallel mesh, each rank on the device that it is given."""

    restarts: ClassVar[bool] = True

    @staticmethod
    def rank_here() -> int:
        return 0

    def __init__(self, settings: Settings, config: WanConfig, main: RankMain = mesh_process.main) -> None:
        self._settings, self._config, self._main = settings, config, main

    def start(self, folder: Path | None, generation: int) -> ProcessMesh:
        settings = self._settings
        return ProcessMesh(
            settings, folder, generation, lambda port: spawn_ranks(settings, self._config, folder, self._main, port)
        )
