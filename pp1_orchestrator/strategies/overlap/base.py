"""What an overlap strategy is, and the two moves that all of them make."""

from __future__ import annotations

import time
from typing import Protocol

from pp1_orchestrator.contract import wire
from pp1_orchestrator.measure.spans import SpanRecorder
from pp1_orchestrator.stage0.flight import Flight
from pp1_orchestrator.transport.link import MeshLink
from pp1_orchestrator.transport.messages import Received


class Steps(Protocol):
    """A chunk's two ends on rank 0 (`stage0.stage.Stage`)."""

    def plan(self, block: bool) -> Flight | None: ...

    def finish(self, received: Received) -> None: ...


class Overlap(Protocol):
    """Orders planning, communication and decoding. `step` and `post` belong to the session's thread."""

    def step(self, stage: Steps) -> bool:
        """Bring at least one chunk to its pixels; False when there was none to make."""
        ...

    def post(self, parcel: wire.Parcel) -> None:
        """Send a message that has no answer, while nothing is in flight."""
        ...

    def close(self, timeout_s: float) -> bool:
        """Stop using the link. False when that did not happen in time: then nobody may use it any more."""
        ...


def deliver(link: MeshLink, flight: Flight, spans: SpanRecorder) -> None:
    """Send a flight's envelope."""
    call_id = flight.envelope.meta.call_id
    start = time.monotonic_ns()
    link.send(flight.parcel)
    end = time.monotonic_ns()
    flight.record.send_start_s, flight.record.send_end_s = start / 1e9, end / 1e9
    spans.add("send", start, end, chunk=flight.record.chunk_index, call_id=call_id)
    spans.flow_out("envelope", call_id, phase="send", at_ns=start)


def collect(link: MeshLink, flight: Flight, spans: SpanRecorder) -> Received:
    """Wait for the flight's result."""
    start = time.monotonic_ns()
    received = link.receive()
    ids = {"chunk": flight.record.chunk_index, "call_id": flight.envelope.meta.call_id}
    spans.add("mesh", start, received.header_ns, **ids)
    spans.add("recv", received.header_ns, received.done_ns, **ids)
    spans.flow_in("result", ids["call_id"], phase="recv", at_ns=received.header_ns)
    return received
