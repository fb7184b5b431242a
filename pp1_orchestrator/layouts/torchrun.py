"""layout=torchrun: every rank of this host is started by torchrun, rank 0 too, and composes its own settings.

Rank 0 hosts the ranks' own store as always, on loopback, and leaves its address and the run's secret in torchrun's.
Starting ranks anew is torchrun's part: it ends and starts all of them, with `--max-restarts`.
"""

from __future__ import annotations

import multiprocessing
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import msgspec

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.errors import ConfigError, MeshError
from pp1_orchestrator.layouts.process_mesh import ForeignProcess, ProcessMesh
from pp1_orchestrator.mesh import process as mesh_process
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.processes.parent_watch import exit_with
from pp1_orchestrator.transport.process_groups import LEADER, STAGE0
from pp1_orchestrator.transport.tcp_store import Store, torchrun_store

PLACE = "meeting"


class RendezvousInfo(msgspec.Struct, frozen=True):
    """What rank 0 tells the others before they can speak in its own store. secret: in hexadecimal digits."""

    port: int
    secret: str
    folder: str | None


class TorchrunLayout:
    """Rank 0's side."""

    restarts: ClassVar[bool] = False

    @staticmethod
    def rank_here() -> int:
        return int(os.environ.get("RANK", STAGE0))

    def __init__(self, settings: Settings, config: WanConfig) -> None:
        self._settings = settings

    def start(self, folder: Path | None, generation: int) -> ProcessMesh:
        """Raises ConfigError where torchrun has started something else, MeshError when a rank does not come."""
        _check_world(self._settings)
        secret = secrets.token_hex()
        _use_secret(secret)

        def gather(port: int) -> Mapping[int, ForeignProcess]:
            return self._gather(RendezvousInfo(port, secret, None if folder is None else str(folder.resolve())))

        return ProcessMesh(self._settings, folder, _number("TORCHELASTIC_RESTART_COUNT"), gather)

    def _gather(self, meeting: RendezvousInfo) -> Mapping[int, ForeignProcess]:
        store = _torchrun_store(self._settings)
        store.set(PLACE, msgspec.json.encode(meeting).decode())
        ranks = range(LEADER, self._settings.layout.mesh_ranks + 1)
        try:
            return {rank: ForeignProcess(int(store.get(f"pid/{rank}"))) for rank in ranks}
        except (RuntimeError, ProcessLookupError) as error:
            raise MeshError("not all ranks of torchrun have come") from error


def run_rank(settings: Settings, config: WanConfig, rank: int) -> None:
    """The whole life of a rank other than 0; it ends with its parent. Raises ConfigError as `start` does."""
    _check_world(settings)
    exit_with(os.getppid(), mesh_process.EXIT_FAILED)
    store = _torchrun_store(settings)
    store.set(f"pid/{rank}", str(os.getpid()))
    meeting = msgspec.json.decode(store.get(PLACE), type=RendezvousInfo)
    _use_secret(meeting.secret)
    folder = None if meeting.folder is None else Path(meeting.folder)
    mesh_process.main(rank, settings, config, meeting.port, folder)


def _check_world(settings: Settings) -> None:
    """Raise ConfigError where torchrun has not started this, or something else."""
    world, here = _number("WORLD_SIZE"), _number("LOCAL_WORLD_SIZE")
    if world != here:
        raise ConfigError(f"WORLD_SIZE={world}: layout=torchrun is for ranks of one host; possible here: {here}")
    if world != settings.layout.mesh_ranks + 1:
        raise ConfigError(
            f"layout.mesh_ranks={settings.layout.mesh_ranks}: torchrun has started {world} ranks; possible: {world - 1}"
        )


def _torchrun_store(settings: Settings) -> Store:
    """Torchrun's own, but for what an earlier start of the same ranks has left there."""
    return torchrun_store(f"pp1/{_number('TORCHELASTIC_RESTART_COUNT')}", settings.deadlines.start)


def _use_secret(secret: str) -> None:
    """As a started child would have it of its parent."""
    multiprocessing.current_process().authkey = bytes.fromhex(secret)


def _number(name: str) -> int:
    """Of torchrun's variables."""
    value = os.environ.get(name, "")
    if not value.isdecimal():
        raise ConfigError(f"layout=torchrun: {name} is not set; start it with torchrun --standalone -m …")
    return int(value)
