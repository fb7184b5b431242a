"""What watches a run; made before the stream, since server and sinks need some of it."""

from __future__ import annotations

from dataclasses import dataclass

from pp1_orchestrator.events import EventBus
from pp1_orchestrator.measure.chunks import ChunkLog
from pp1_orchestrator.measure.metrics import Metrics
from pp1_orchestrator.measure.queues import QueueDepths
from pp1_orchestrator.stage0.observers import Receipts
from pp1_orchestrator.stage0.recording import Recording


@dataclass(frozen=True, slots=True)
class Instruments:
    """One run's."""

    metrics: Metrics
    events: EventBus
    receipts: Receipts
    chunk_log: ChunkLog
    queues: QueueDepths
    record: Recording

    @classmethod
    def make(cls, warmup_chunks: int) -> Instruments:
        metrics, events = Metrics(warmup_chunks), EventBus()
        return cls(metrics, events, Receipts(events, metrics), ChunkLog(), QueueDepths(metrics), Recording())
