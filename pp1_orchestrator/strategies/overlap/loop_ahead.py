"""One thread: the loop itself submits chunk k+1 before it decodes chunk k.

Overlaps with a mesh in other processes. A mesh in this process has no thread of its own here, so nothing overlaps.
"""

from __future__ import annotations

import time
from typing import ClassVar

from pp1_orchestrator.contract import wire
from pp1_orchestrator.stage0.flight import Flight
from pp1_orchestrator.strategies.overlap.base import IN_FLIGHT, OverlapParts, Steps, collect, note_sent
from pp1_orchestrator.transport.link import PendingSend


class LoopAhead:
    """overlap=loop_ahead."""

    queues: ClassVar[tuple[str, ...]] = ()

    def __init__(self, parts: OverlapParts) -> None:
        self._parts = parts
        self._ahead: tuple[Flight, PendingSend] | None = None

    def step(self, stage: Steps) -> bool:
        if self._ahead is None and not self._submit(stage.plan(block=True)):
            return False
        assert self._ahead is not None
        (flight, sending), self._ahead = self._ahead, None
        sending.wait()
        received = collect(self._parts, flight)
        self._parts.queues.note(IN_FLIGHT, 0)
        accepted = stage.accept(received)
        if accepted is not None:
            stage.prepare(accepted)
        self._submit(stage.plan(block=False))
        if accepted is not None:
            stage.finish(accepted)
        self._parts.link.settle()
        return True

    def post(self, parcel: wire.Parcel) -> None:
        self._parts.link.send(parcel)

    def close(self, timeout_s: float) -> bool:
        """An envelope that nobody has waited for yet went to a mesh that is lost: a stream ends with none under way."""
        self._ahead = None
        return True

    def _submit(self, flight: Flight | None) -> bool:
        """Begin to send; the leader takes it when it has finished the last chunk's context pass."""
        if flight is None:
            return False
        self._parts.queues.note(IN_FLIGHT, 1)
        start = time.monotonic_ns()
        self._ahead = flight, self._parts.link.start_send(flight.parcel)
        note_sent(self._parts, flight, start)
        return True
