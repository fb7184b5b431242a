"""Send, wait, decode, emit: nothing overlaps. The baseline."""

from __future__ import annotations

from pp1_orchestrator.contract import wire
from pp1_orchestrator.measure.spans import SpanRecorder
from pp1_orchestrator.strategies.overlap.base import Steps, collect, deliver
from pp1_orchestrator.transport.link import MeshLink


class Sync:
    """overlap=sync."""

    def __init__(self, link: MeshLink, spans: SpanRecorder) -> None:
        self._link, self._spans = link, spans

    def step(self, stage: Steps) -> bool:
        flight = stage.plan(block=True)
        if flight is None:
            return False
        deliver(self._link, flight, self._spans)
        stage.finish(collect(self._link, flight, self._spans))
        self._link.settle()
        return True

    def post(self, parcel: wire.Parcel) -> None:
        self._link.send(parcel)

    def close(self, timeout_s: float) -> bool:
        return True
