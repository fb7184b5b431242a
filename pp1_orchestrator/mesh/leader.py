"""Mesh ranks: the leader (rank 1) receives envelopes from rank 0, broadcasts them, and sends one result
for every INFER; the followers (ranks 2..N) run what the leader broadcasts.

One thread does all communication of a mesh rank. A message is complete and checked, and its recipe resolved, before the
first collective. The leader never waits until rank 0 has taken a result while rank 0 may be sending: both would wait
for each other.
"""

import logging
import time
from collections.abc import Callable

from pp1_orchestrator.contract import Action, Envelope, Result, wire
from pp1_orchestrator.mesh.text_conditioning import RecipeResolver, ResolvedEnvelope
from pp1_orchestrator.mesh.worker import MeshWorker, failure
from pp1_orchestrator.telemetry.spans import SpanRecorder
from pp1_orchestrator.transport.link import MeshLink, receive_message
from pp1_orchestrator.transport.process_groups import MESSAGE_DEVICE, MeshShard

log = logging.getLogger(__name__)


class Leader:
    """Reports a failure to rank 0, then raises it: the other ranks may be inside a collective."""

    def __init__(
        self, link: MeshLink, shard: MeshShard, resolver: RecipeResolver, worker: MeshWorker, spans: SpanRecorder
    ) -> None:
        self._link, self._shard, self._resolver, self._worker, self._spans = link, shard, resolver, worker, spans
        self._wait_until_taken: Callable[[], None] | None = None

    def run(self) -> None:
        """Run until SHUTDOWN."""
        idle_since = waiting_since = time.monotonic_ns()
        while True:
            received = self._link.receive()
            envelope: Envelope = received.message
            plan = envelope.meta.plan
            ids = {} if plan is None else {"chunk": plan.chunk_index}
            self._spans.add("wait", waiting_since, received.header_ns, call_id=envelope.meta.call_id, **ids)
            waiting_since = received.header_ns
            if envelope.meta.action is Action.INFER:
                self._infer(envelope, max(0.0, (received.header_ns - idle_since) / 1e6))
                idle_since = waiting_since = time.monotonic_ns()
                continue
            self._broadcast(envelope)
            if envelope.meta.action is Action.SHUTDOWN:
                return

    def _infer(self, envelope: Envelope, idle_ms: float) -> None:
        self._spans.flow("in", "envelope", envelope.meta.call_id)
        try:
            resolved = self._resolver.resolve(envelope)
            self._broadcast(resolved.envelope)
            result = self._worker.infer(resolved, idle_ms)
        except Exception as error:
            meta = envelope.meta
            ids = {"call_id": meta.call_id, "epoch": meta.cache_epoch, "chunk": envelope.plan.chunk_index}
            log.error("the envelope can't be run: %s", error, extra=ids)
            self._send_result(failure(envelope, error))
            self._wait_for_pending()  # this process ends next, and rank 0 waits for this result only
            raise
        self._send_result(result)
        self._worker.run_context_pass()

    def _send_result(self, result: Result) -> None:
        """Rank 0 receives the previous result before it waits for this one, so this wait ends."""
        self._wait_for_pending()
        message = wire.pack_result(result, self._link.device)
        with self._spans.span("send", chunk=result.meta.chunk_index, call_id=result.meta.call_id):
            self._spans.flow("out", "result", result.meta.call_id)
            self._wait_until_taken = self._link.start_send(message)

    def _wait_for_pending(self) -> None:
        if self._wait_until_taken is not None:
            self._wait_until_taken()

    def _broadcast(self, envelope: Envelope) -> None:
        if self._shard.degree > 1:
            for part in wire.pack_envelope(envelope, self._link.device).parts:
                self._shard.broadcast(part)


def follow(shard: MeshShard, worker: MeshWorker) -> None:
    """A follower's loop, until SHUTDOWN. Sends nothing to rank 0."""
    while True:
        envelope: Envelope = receive_message(shard.broadcast, MESSAGE_DEVICE).message
        if envelope.meta.action is Action.SHUTDOWN:
            return
        if envelope.meta.action is Action.INFER:
            worker.infer(ResolvedEnvelope(envelope), idle_ms=0.0)
            worker.run_context_pass()
