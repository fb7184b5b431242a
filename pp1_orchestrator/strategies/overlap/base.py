"""What an overlap strategy is, and the moves that all of them make."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import ClassVar, Protocol

from pp1_orchestrator.contract import wire
from pp1_orchestrator.measure.queues import QueueDepths
from pp1_orchestrator.measure.spans import SpanRecorder
from pp1_orchestrator.stage0.flight import Accepted, Flight
from pp1_orchestrator.transport.link import MeshLink
from pp1_orchestrator.transport.messages import Received

IN_FLIGHT, DECODED_NEXT = "in_flight", "results"
"""Names of the two queues: envelopes that are not answered yet, and results that are not being decoded yet."""


@dataclass(frozen=True, slots=True)
class Depths:
    """Bounds of the two queues. d_in: envelopes without an answer; d_out: results that wait to be decoded."""

    d_in: int
    d_out: int


class Steps(Protocol):
    """A chunk's moves on rank 0 (`stage0.stage.Stage`)."""

    @property
    def needs_pixels(self) -> bool: ...

    def plan(self, block: bool) -> Flight | None: ...

    def accept(self, received: Received) -> Accepted | None: ...

    def prepare(self, accepted: Accepted) -> None: ...

    def finish(self, accepted: Accepted) -> None: ...


@dataclass(frozen=True, slots=True)
class OverlapParts:
    """What every strategy works with."""

    link: MeshLink
    spans: SpanRecorder
    queues: QueueDepths
    depths: Depths


class Overlap(Protocol):
    """Orders planning, communication and decoding. `step` and `post` belong to the session's thread."""

    queues: ClassVar[tuple[str, ...]]
    """Which of the depths d_in and d_out may be above 1."""

    def __init__(self, parts: OverlapParts) -> None: ...

    def step(self, stage: Steps) -> bool:
        """Bring the stream on by about one chunk; False when there was nothing to do."""
        ...

    def post(self, parcel: wire.Parcel) -> None:
        """Send a message that has no answer, while no chunk is with the mesh."""
        ...

    def close(self, timeout_s: float) -> bool:
        """End what runs beside the session's thread. False when that did not happen in time: then nobody may use
        the link or the decoder any more."""
        ...


def exchange(parts: OverlapParts, flight: Flight) -> Received:
    """Send a flight's envelope and wait for its result, on one thread."""
    parts.queues.note(IN_FLIGHT, 1)
    deliver(parts, flight)
    received = collect(parts, flight)
    parts.queues.note(IN_FLIGHT, 0)
    return received


def deliver(parts: OverlapParts, flight: Flight) -> None:
    """Send a flight's envelope."""
    start = time.monotonic_ns()
    flight.packed.cross(flight.parcel.parts)
    parts.link.send(flight.parcel)
    note_sent(parts, flight, start)


def note_sent(parts: OverlapParts, flight: Flight, start_ns: int) -> None:
    """Keep when a flight's envelope left."""
    call_id, end = flight.envelope.meta.call_id, time.monotonic_ns()
    flight.record.send_start_s, flight.record.send_end_s = start_ns / 1e9, end / 1e9
    ids = {"chunk": flight.record.chunk_index, "call_id": call_id}
    parts.spans.add("wait for link", round(flight.record.build_end_s * 1e9), start_ns, **ids)
    parts.spans.add("send", start_ns, end, **ids)
    parts.spans.flow_out("envelope", call_id, phase="send", at_ns=start_ns)


def collect(parts: OverlapParts, flight: Flight) -> Received:
    """Wait for the flight's result."""
    start = time.monotonic_ns()
    received = parts.link.receive()
    ids = {"chunk": flight.record.chunk_index, "call_id": flight.envelope.meta.call_id}
    parts.spans.add("mesh", start, received.header_ns, **ids)
    parts.spans.add("recv", received.header_ns, received.done_ns, **ids)
    parts.spans.flow_in("result", ids["call_id"], phase="recv", at_ns=received.header_ns)
    return received
