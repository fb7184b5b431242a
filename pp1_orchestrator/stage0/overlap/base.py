"""What an overlap strategy is, and the exchange with the mesh that all strategies make, with its spans and timings."""

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from pp1_orchestrator.contract import wire
from pp1_orchestrator.stage0.in_flight_chunk import InFlightChunk
from pp1_orchestrator.stage0.pipeline import ChunkPipeline
from pp1_orchestrator.telemetry.metrics import QueueDepths
from pp1_orchestrator.telemetry.spans import SpanRecorder
from pp1_orchestrator.transport.link import MeshLink, Received

IN_FLIGHT, TO_DECODE = "in_flight", "results"
"""Names of the two queues: envelopes without an answer, and results that wait to be decoded."""


@dataclass(frozen=True, slots=True)
class OverlapParts:
    """What every strategy works with. d_in, d_out: bounds of the two queues."""

    link: MeshLink
    spans: SpanRecorder
    queues: QueueDepths
    d_in: int
    d_out: int


class Overlap(ABC):
    """Orders planning, communication and decoding. `step` and `post` belong to the session's thread."""

    queues: ClassVar[tuple[str, ...]] = ()
    """Which of the bounds d_in and d_out may be above 1."""
    hides_decode: ClassVar[bool] = True
    """A chunk is decoded while the mesh makes the next one."""
    threaded: ClassVar[bool] = False
    """Decode and communication run on two threads: they overlap even where the mesh is in the same process."""

    def __init__(self, parts: OverlapParts) -> None:
        self._parts = parts

    @abstractmethod
    def step(self, pipeline: ChunkPipeline) -> bool:
        """Advance the stream by about one chunk. False when there was nothing to do."""

    def post(self, message: wire.EncodedMessage) -> None:
        """Send a message that has no answer, while no chunk is with the mesh."""
        self._parts.link.send(message)

    def close(self, timeout_s: float) -> bool:
        """End the strategy's threads. False if they still run: link and decoder must not be used any more."""
        return True


def exchange(parts: OverlapParts, chunk: InFlightChunk) -> Received:
    """Send a chunk's envelope and wait for its result, on one thread."""
    parts.queues.record(IN_FLIGHT, 1)
    send(parts, chunk)
    result = receive(parts, chunk)
    parts.queues.record(IN_FLIGHT, 0)
    return result


def send(parts: OverlapParts, chunk: InFlightChunk) -> None:
    """Send a chunk's envelope."""
    start = time.monotonic_ns()
    chunk.fence.wait(chunk.encoded.parts)
    parts.link.send(chunk.encoded)
    note_sent(parts, chunk, start)


def note_sent(parts: OverlapParts, chunk: InFlightChunk, start_ns: int) -> None:
    """Record when a chunk's envelope left."""
    record, end_ns = chunk.record, time.monotonic_ns()
    record.send_start_s, record.send_end_s = start_ns / 1e9, end_ns / 1e9
    ids = {"chunk": record.chunk_index, "call_id": record.call_id}
    parts.spans.add("wait for link", round(record.build_end_s * 1e9), start_ns, **ids)
    parts.spans.add("send", start_ns, end_ns, **ids)
    parts.spans.flow("out", "envelope", record.call_id, phase="send", at_ns=start_ns)


def receive(parts: OverlapParts, chunk: InFlightChunk) -> Received:
    """Wait for a chunk's result."""
    start, record = time.monotonic_ns(), chunk.record
    result = parts.link.receive()
    ids = {"chunk": record.chunk_index, "call_id": record.call_id}
    parts.spans.add("mesh", start, result.header_ns, **ids)
    parts.spans.add("recv", result.header_ns, result.done_ns, **ids)
    parts.spans.flow("in", "result", record.call_id, phase="recv", at_ns=result.header_ns)
    return result
