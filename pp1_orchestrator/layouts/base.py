"""What a layout offers to the program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.contract import wire
from pp1_orchestrator.layouts.process_mesh import RankProcess
from pp1_orchestrator.loading.checkpoint import Components
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.transport.link import MeshLink
from pp1_orchestrator.transport.response_timer import ResponseTimer


class Mesh(Protocol):
    """A running mesh, as rank 0 sees it."""

    def connect(self, timer: ResponseTimer | None = None, on_duplicate: Callable[[], None] | None = None) -> MeshLink:
        """Wait until all ranks are loaded and joined. Raises ConfigError or MeshError with a rank's own reason.

        timer, on_duplicate: of the link.
        """
        ...

    @property
    def processes(self) -> Mapping[int, RankProcess]:
        """The mesh's own processes by global rank; none where it lives in rank 0's."""
        ...

    def last_words(self, rank: int) -> str:
        """Why a rank has ended, if it could still say so."""
        ...

    def misses(self, rank: int) -> bool:
        """Whether a rank has ended for no other reason than that another one had, or was silent."""
        ...

    def ranks(self) -> dict[str, dict[str, Any]]:
        """pid, device and state of every mesh rank, by its global number."""
        ...

    def memory(self) -> Mapping[str, Components]:
        """Bytes by mesh rank and component; "peak" appears once the mesh has stopped."""
        ...

    def kill(self) -> None:
        """End its processes at once, so that no wait on the link lasts. `stop` follows when nobody uses the link."""
        ...

    def stop(self, shutdown: wire.EncodedMessage | None, timeout_s: float) -> None:
        """End the mesh: with a SHUTDOWN when the link is free for one, by force after `timeout_s` or without one."""
        ...


class Layout(Protocol):
    """Starts meshes. restarts: more than one; elsewhere whoever has started the ranks starts them anew."""

    restarts: ClassVar[bool]

    @staticmethod
    def rank_here() -> int:
        """The rank that this process is to be."""
        ...

    def __init__(self, settings: Settings, config: WanConfig) -> None: ...

    def start(self, folder: Path | None, generation: int) -> Mesh:
        """folder: the run's, where ranks leave parts of the trace and their stacks. generation: meshes before."""
        ...
