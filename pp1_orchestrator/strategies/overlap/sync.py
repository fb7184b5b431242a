"""Send, wait, decode, emit: nothing overlaps. The baseline."""

from __future__ import annotations

from typing import ClassVar

from pp1_orchestrator.contract import wire
from pp1_orchestrator.strategies.overlap.base import OverlapParts, Steps, exchange


class Sync:
    """overlap=sync."""

    queues: ClassVar[tuple[str, ...]] = ()

    def __init__(self, parts: OverlapParts) -> None:
        self._parts = parts

    def step(self, stage: Steps) -> bool:
        flight = stage.plan(block=True)
        if flight is None:
            return False
        accepted = stage.accept(exchange(self._parts, flight))
        if accepted is not None:
            stage.prepare(accepted)
            stage.finish(accepted)
        self._parts.link.settle()
        return True

    def post(self, parcel: wire.Parcel) -> None:
        self._parts.link.send(parcel)

    def close(self, timeout_s: float) -> bool:
        return True
