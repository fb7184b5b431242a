"""What an overlap strategy is, and the exchange with the mesh that all of them make.

Owns the spans and figures of that exchange. Knows nothing of threads.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from pp1_orchestrator.contract import wire
from pp1_orchestrator.stage0.chunk import InFlightChunk
from pp1_orchestrator.stage0.pipeline import ChunkPipeline
from pp1_orchestrator.telemetry.metrics import QueueDepths
from pp1_orchestrator.telemetry.spans import SpanRecorder
from pp1_orchestrator.transport.link import MeshLink, Received

IN_FLIGHT, DECODED_NEXT = "in_flight", "results"
"""Names of the two queues: envelopes without an answer yet, and results that are not being decoded yet."""


@dataclass(frozen=True, slots=True)
class Depths:
    """Bounds of the two queues.

    Args:
        d_in: envelopes without an answer.
        d_out: results that wait to be decoded.
    """

    d_in: int
    d_out: int


@dataclass(frozen=True, slots=True)
class OverlapParts:
    """What every strategy works with."""

    link: MeshLink
    spans: SpanRecorder
    queues: QueueDepths
    depths: Depths


class Overlap(ABC):
    """Orders planning, communication and decoding. `step` and `post` belong to the session's thread."""

    queues: ClassVar[tuple[str, ...]] = ()
    """Which of the depths d_in and d_out may be above 1."""
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
        """End the strategy's own threads.

        False when they did not end in time: the link and the decoder must not be used any more.
        """
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
    chunk.packed.wait(chunk.encoded.parts)
    parts.link.send(chunk.encoded)
    note_sent(parts, chunk, start)


def note_sent(parts: OverlapParts, chunk: InFlightChunk, start_ns: int) -> None:
    """Record when a chunk's envelope left."""
    call_id, end = chunk.envelope.meta.call_id, time.monotonic_ns()
    chunk.record.send_start_s, chunk.record.send_end_s = start_ns / 1e9, end / 1e9
    ids = {"chunk": chunk.record.chunk_index, "call_id": call_id}
    parts.spans.add("wait for link", round(chunk.record.build_end_s * 1e9), start_ns, **ids)
    parts.spans.add("send", start_ns, end, **ids)
    parts.spans.flow_out("envelope", call_id, phase="send", at_ns=start_ns)


def receive(parts: OverlapParts, chunk: InFlightChunk) -> Received:
    """Wait for a chunk's result."""
    start = time.monotonic_ns()
    result = parts.link.receive()
    ids = {"chunk": chunk.record.chunk_index, "call_id": chunk.envelope.meta.call_id}
    parts.spans.add("mesh", start, result.header_ns, **ids)
    parts.spans.add("recv", result.header_ns, result.done_ns, **ids)
    parts.spans.flow_in("result", ids["call_id"], phase="recv", at_ns=result.header_ns)
    return result
