"""layout=cpu and layout=gpu_…: rank 0 starts the mesh's ranks as child processes.

The fork server of `multiprocessing` imports what a rank needs once and forks for each rank of each mesh. Imports would
be the longest part of a restart, and this way their memory is shared. The fork server uses no GPU, runs no threads and
ends with rank 0 (`processes.fork_server`).
"""

import sys
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.layouts.base import Layout
from pp1_orchestrator.layouts.process_mesh import ProcessMesh
from pp1_orchestrator.mesh import process as mesh_process
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.processes.fork_server import fork_context
from pp1_orchestrator.processes.signals import signals_blocked
from pp1_orchestrator.transport.process_groups import LEADER

RankMain = Callable[[int, Settings, WanConfig, int, Path | None], None]
_hiding = threading.Lock()


class SpawnedLayout(Layout):
    """Rank 0 and a tensor-parallel mesh, each rank on the device that `layout` names. main: what a rank runs."""

    def __init__(self, settings: Settings, config: WanConfig, main: RankMain = mesh_process.main) -> None:
        super().__init__(settings, config)
        self._main = main

    def start(self, folder: Path | None, generation: int) -> ProcessMesh:
        return ProcessMesh(self._settings, folder, generation, partial(self._spawn, folder))

    def _spawn(self, folder: Path | None, port: int) -> Mapping[int, BaseProcess]:
        context = fork_context()
        processes = {
            rank: context.Process(
                target=self._main,
                args=(rank, self._settings, self._config, port, folder),
                name=f"mesh-{rank}",
                daemon=True,
            )
            for rank in range(LEADER, self._settings.layout.mesh_ranks + 1)
        }
        resource_tracker.ensure_running()  # starting it later would unblock the signals
        with signals_blocked(), _main_hidden():
            for process in processes.values():
                process.start()
        return processes


@contextmanager
def _main_hidden() -> Generator[None]:
    """Inside, `multiprocessing` does not know the main script. Each rank would run it, and a script that opens a stream
    without `if __name__ == "__main__"` would start ranks without end. No rank needs it."""
    main = sys.modules["__main__"]
    with _hiding:
        before = {name: main.__dict__[name] for name in ("__spec__", "__file__") if name in main.__dict__}
        main.__dict__.update(dict.fromkeys(before))
        try:
            yield
        finally:
            main.__dict__.update(before)
