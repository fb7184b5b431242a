"""layout=torchrun: torchrun starts every rank of this host, rank 0 too, and each composes its own settings.

Rank 0 hosts the mesh's own store on loopback, as in other layouts. It publishes that store's port and the run's secret
in torchrun's store. Restarts are torchrun's: with `--max-restarts` it ends and starts all ranks.
"""

import multiprocessing
import os
import secrets
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar

import msgspec

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.errors import ConfigError, MeshError
from pp1_orchestrator.layouts.base import Layout
from pp1_orchestrator.layouts.process_handle import ForeignProcess
from pp1_orchestrator.layouts.process_mesh import ProcessMesh
from pp1_orchestrator.mesh import process as mesh_process
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.processes.parent_watch import exit_with
from pp1_orchestrator.transport.process_groups import LEADER, STAGE0
from pp1_orchestrator.transport.tcp_store import Store, torchrun_store

RENDEZVOUS_KEY = "rendezvous"


class RendezvousInfo(msgspec.Struct, frozen=True):
    """What rank 0 publishes so that the others can join its own store. secret: hexadecimal."""

    port: int
    secret: str
    folder: str | None


class TorchrunLayout(Layout):
    """Rank 0's side."""

    restarts: ClassVar[bool] = False

    @staticmethod
    def rank_here() -> int:
        return int(os.environ.get("RANK", STAGE0))

    def start(self, folder: Path | None, generation: int) -> ProcessMesh:
        """Raises ConfigError when torchrun's world does not fit the settings, MeshError when a rank is missing."""
        _check_world(self._settings)
        secret = secrets.token_bytes()
        multiprocessing.current_process().authkey = secret  # a child of `multiprocessing` would inherit it
        start_ranks = partial(self._wait_for_ranks, secret.hex(), None if folder is None else str(folder.resolve()))
        return ProcessMesh(self._settings, folder, _variable("TORCHELASTIC_RESTART_COUNT"), start_ranks)

    def _wait_for_ranks(self, secret: str, folder: str | None, port: int) -> Mapping[int, ForeignProcess]:
        store = _torchrun_store(self._settings)
        store.set(RENDEZVOUS_KEY, msgspec.json.encode(RendezvousInfo(port, secret, folder)).decode())
        ranks = range(LEADER, self._settings.layout.mesh_ranks + 1)
        try:
            return {rank: ForeignProcess(int(store.get(f"pid/{rank}"))) for rank in ranks}
        except (RuntimeError, ProcessLookupError) as error:
            raise MeshError("not all ranks of torchrun have come") from error


def run_rank(settings: Settings, config: WanConfig, rank: int) -> None:
    """Run a rank other than 0 to its end. It ends with its parent. Raises ConfigError as `start` does."""
    _check_world(settings)
    exit_with(os.getppid(), mesh_process.EXIT_FAILED)
    store = _torchrun_store(settings)
    store.set(f"pid/{rank}", str(os.getpid()))
    info = msgspec.json.decode(store.get(RENDEZVOUS_KEY), type=RendezvousInfo)
    multiprocessing.current_process().authkey = bytes.fromhex(info.secret)
    folder = None if info.folder is None else Path(info.folder)
    mesh_process.main(rank, settings, config, info.port, folder)


def _check_world(settings: Settings) -> None:
    """Raise ConfigError unless torchrun has started as many ranks as the settings say, on one host."""
    world, here = _variable("WORLD_SIZE"), _variable("LOCAL_WORLD_SIZE")
    if world != here:
        raise ConfigError(f"WORLD_SIZE={world}: layout=torchrun is for ranks of one host; possible here: {here}")
    if world != settings.layout.mesh_ranks + 1:
        raise ConfigError(
            f"layout.mesh_ranks={settings.layout.mesh_ranks}: torchrun has started {world} ranks; possible: {world - 1}"
        )


def _torchrun_store(settings: Settings) -> Store:
    """Torchrun's own store. The prefix hides what an earlier start of the same ranks has left there."""
    return torchrun_store(f"pp1/{_variable('TORCHELASTIC_RESTART_COUNT')}", settings.deadlines.start)


def _variable(name: str) -> int:
    """One of torchrun's environment variables."""
    value = os.environ.get(name, "")
    if not value.isdecimal():
        raise ConfigError(f"layout=torchrun: {name} is not set; start it with torchrun --standalone -m …")
    return int(value)
