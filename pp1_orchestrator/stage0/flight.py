"""A chunk between its plan and its pixels."""

from __future__ import annotations

from dataclasses import dataclass

from pp1_orchestrator.contract import Envelope, wire
from pp1_orchestrator.contract.envelope import InferPlan
from pp1_orchestrator.measure.records import ChunkRecord, UpdateRecord


@dataclass(slots=True)
class Flight:
    """An envelope, ready to be sent, with what is measured of it and the updates that it shows first."""

    envelope: Envelope
    parcel: wire.Parcel
    record: ChunkRecord
    updates: list[UpdateRecord]

    @property
    def plan(self) -> InferPlan:
        plan = self.envelope.meta.plan
        assert plan is not None
        return plan
