"""The leader (global rank 1): takes envelopes from rank 0, checks them, passes them on, answers each INFER once.

One thread does all communication of a mesh rank. A message is complete, checked and resolved before the first
collective. The leader never waits for an answer to be taken while rank 0 may be sending: both would wait for ever.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from pp1_orchestrator.contract import Action, Envelope, Result, wire
from pp1_orchestrator.mesh.text_conditioning import LeaderText, Resolved
from pp1_orchestrator.mesh.worker import MeshWorker, failure
from pp1_orchestrator.telemetry.spans import SpanRecorder
from pp1_orchestrator.transport.link import MeshLink, PendingSend, send_message
from pp1_orchestrator.transport.process_groups import MeshShard

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LeaderParts:
    """What a leader works with."""

    link: MeshLink
    shard: MeshShard
    text: LeaderText
    worker: MeshWorker


class Leader:
    """Runs until SHUTDOWN. A failure is told to rank 0, then raised: its peers may be inside a collective."""

    def __init__(self, parts: LeaderParts, spans: SpanRecorder) -> None:
        self._parts, self._spans = parts, spans
        self._answer_under_way: PendingSend | None = None

    def run(self) -> None:
        idle_since = time.monotonic_ns()
        while True:
            received = self._parts.link.receive()
            envelope: Envelope = received.message
            plan = envelope.meta.plan
            ids = {} if plan is None else {"chunk": plan.chunk_index}
            self._spans.add("wait", idle_since, received.header_ns, call_id=envelope.meta.call_id, **ids)
            if envelope.meta.action is Action.INFER:
                self._infer(envelope, max(0.0, (received.header_ns - idle_since) / 1e6))
                idle_since = time.monotonic_ns()
                continue
            self._relay(envelope)
            if envelope.meta.action is Action.SHUTDOWN:
                return

    def _infer(self, envelope: Envelope, idle_ms: float) -> None:
        self._spans.flow_in("envelope", envelope.meta.call_id)
        try:
            result = self._run(self._parts.text.resolve(envelope), idle_ms)
        except Exception as error:
            meta = envelope.meta
            ids = {"call_id": meta.call_id, "epoch": meta.cache_epoch, "chunk": envelope.plan.chunk_index}
            log.error("an envelope can't be run: %s", error, extra=ids)
            self._answer(failure(envelope, error))
            self._wait_until_taken()  # this process ends, and rank 0 waits for nothing else
            raise
        self._answer(result)
        self._parts.worker.settle()

    def _run(self, resolved: Resolved, idle_ms: float) -> Result:
        self._relay(resolved.envelope)
        return self._parts.worker.infer(resolved, idle_ms)

    def _answer(self, result: Result) -> None:
        """Rank 0 has asked for it and takes what is under way before it, so that there is never more than one more."""
        self._wait_until_taken()
        parcel = wire.pack_result(result, self._parts.link.device)
        with self._spans.span("send", chunk=result.meta.chunk_index, call_id=result.meta.call_id):
            self._spans.flow_out("result", result.meta.call_id)
            self._answer_under_way = self._parts.link.start_send(parcel)

    def _wait_until_taken(self) -> None:
        if self._answer_under_way is not None:
            self._answer_under_way.wait()

    def _relay(self, envelope: Envelope) -> None:
        if self._parts.shard.degree > 1:
            send_message(wire.pack_envelope(envelope, self._parts.link.device), self._parts.shard.broadcast)
