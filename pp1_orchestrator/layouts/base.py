"""The interface of a layout, which starts meshes, and of a running mesh as rank 0 sees it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.contract import wire
from pp1_orchestrator.layouts.process_handle import RankProcess
from pp1_orchestrator.loading.checkpoint import Components
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.transport.link import MeshLink
from pp1_orchestrator.transport.response_timer import ResponseTimer


class Mesh(ABC):
    """A running mesh. The defaults are those of a mesh in rank 0's own process."""

    @abstractmethod
    def connect(self, timer: ResponseTimer | None = None, on_duplicate: Callable[[], None] | None = None) -> MeshLink:
        """Wait until all ranks are loaded and connected. Raises ConfigError or MeshError with a rank's own reason.

        `timer` and `on_duplicate` are for the link.
        """

    @property
    def processes(self) -> Mapping[int, RankProcess]:
        """The mesh's own processes by global rank."""
        return {}

    def exit_reason(self, rank: int) -> str:
        """Why a rank has ended, if it left one, else an empty string."""
        return ""

    def lost_peer(self, rank: int) -> bool:
        """Whether a rank has ended only because another one had ended or did not answer."""
        return False

    @abstractmethod
    def ranks(self) -> dict[str, dict[str, Any]]:
        """pid, device and state of every mesh rank, by global rank."""

    @abstractmethod
    def memory(self) -> Mapping[str, Components]:
        """Bytes by mesh rank and component; "peak" is there once the mesh has stopped."""

    def kill(self) -> None:
        """Kill the processes, so that every wait on the link ends. `stop` follows when nobody uses the link."""
        return None

    @abstractmethod
    def stop(self, shutdown: wire.EncodedMessage | None, timeout_s: float) -> None:
        """End the mesh.

        Args:
            shutdown: a SHUTDOWN message to send first; None when the link is not free, which ends the mesh by force.
            timeout_s: time for an orderly end.
        """


class Layout(ABC):
    """Starts meshes. restarts: whether rank 0 may start a second one; torchrun restarts its ranks itself."""

    restarts: ClassVar[bool] = True

    def __init__(self, settings: Settings, config: WanConfig) -> None:
        self._settings, self._config = settings, config

    @staticmethod
    def rank_here() -> int:
        """The global rank of this process."""
        return 0

    @abstractmethod
    def start(self, folder: Path | None, generation: int) -> Mesh:
        """Start a mesh.

        Args:
            folder: the run's, where ranks leave parts of the trace and stack dumps.
            generation: the number of meshes before this one.
        """
