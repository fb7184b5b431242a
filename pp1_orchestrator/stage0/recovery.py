"""What a session needs of whoever looks after its mesh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pp1_orchestrator.transport.link import MeshLink


class MeshKeeper(Protocol):
    """Watches the mesh and starts it anew. `check` and `renew` belong to the session's thread."""

    def check(self) -> None:
        """Raises MeshError when the mesh is known to have failed."""
        ...

    def fail(self, error: Exception) -> None:
        """End the mesh that has failed; every wait on its link ends, too. Raises the reason when no try is left."""
        ...

    def renew(self, stopped: Callable[[], bool]) -> MeshLink | None:
        """A link to a new mesh, once nobody uses the old one's; None when `stopped` said so meanwhile.

        Raises the last try's reason when no try is left.
        """
        ...
