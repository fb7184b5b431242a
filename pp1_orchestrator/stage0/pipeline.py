"""A chunk on rank 0 in four calls: `plan` makes the envelope, `accept` takes the result, `prepare` and `finish` decode.

An overlap strategy decides when each call is made, and on which thread `prepare` and `finish` run. `plan` and `accept`
belong to the session's thread. Knows nothing of the link.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pp1_orchestrator.contract import Action, Envelope, wire
from pp1_orchestrator.contract.result import accept
from pp1_orchestrator.errors import ChunkError
from pp1_orchestrator.stage0.decoder import ChunkDecoder
from pp1_orchestrator.stage0.failures import FAILED, KEEP_QUEUED_FRAMES, RESTART, FailurePolicy
from pp1_orchestrator.stage0.in_flight_chunk import InFlightChunk, ReceivedChunk
from pp1_orchestrator.stage0.observers import BaseObserver
from pp1_orchestrator.stage0.pending_requests import ChunkRequest, PendingRequests
from pp1_orchestrator.stage0.planner import Planner
from pp1_orchestrator.telemetry.records import ChunkRecord, UpdateRecord
from pp1_orchestrator.telemetry.spans import SpanRecorder
from pp1_orchestrator.transport.cuda_streams import StreamFence
from pp1_orchestrator.transport.link import Received
from pp1_orchestrator.types import FrameSink

ROOM_POLL_S = 0.1
"""How long a plan waits for room before the session looks at stop, pause and heartbeat again."""


def all_finite(tensor: Tensor) -> Tensor:
    """A bool on the tensor's device. Minimum and maximum are enough, and need no value per element."""
    return torch.isfinite(torch.stack(torch.aminmax(tensor))).all()


class ChunkPipeline:
    """Plans and finishes chunks in order. pack: encodes an envelope. rejected_limit: see `FailurePolicy`."""

    def __init__(
        self,
        planner: Planner,
        requests: PendingRequests,
        decoder: ChunkDecoder,
        sink: FrameSink,
        observers: Sequence[BaseObserver],
        spans: SpanRecorder,
        pack: Callable[[Envelope], wire.EncodedMessage],
        rejected_limit: int,
    ) -> None:
        self.planner, self.decoder, self._requests, self._sink = planner, decoder, requests, sink
        self._observers, self._spans, self._pack = observers, spans, pack
        self.failures = FailurePolicy(rejected_limit, requests.request_cut)
        self._lock = threading.RLock()
        """Order between the session's thread and the one that decodes: updates, epochs, observers."""
        self._unanswered: deque[InFlightChunk] = deque()
        """Planned, and no result yet. Only the session's thread uses it."""
        self._unfinished: dict[int, InFlightChunk] = {}
        """Planned, and neither shown nor dropped, by chunk in order. Guarded by the lock."""
        self._deferred_updates: list[UpdateRecord] = []
        """Updates of dropped chunks that no planned chunk has taken over. Guarded by the lock."""
        self._mesh_needs_reset = False
        """The mesh has given up its caches with a chunk that it could not make."""
        self._lead_s = 0.0
        """How long the newest chunk took from plan to pixels."""
        self._waiting_since_ns: int | None = None
        self.head = -1
        """Newest chunk whose result has reached rank 0."""

    @property
    def in_flight(self) -> int:
        """Chunks that have been planned and neither shown nor dropped."""
        return len(self._unfinished)

    @property
    def position(self) -> tuple[int, int, int]:
        """Changes whenever a chunk has been planned, received, or shown or dropped."""
        return self.planner.next_chunk, self.head, self.in_flight

    def plan(self, block: bool) -> InFlightChunk | None:
        """The next chunk, or None when none is wanted now. block: wait a little when the sink has no room yet."""
        index = self.planner.next_chunk
        if not self._requests.wants_chunk(index) or (self._unfinished and self._requests.must_wait(index)):
            return None
        if self._unanswered and self.planner.needs_history:
            return None
        if not self._has_room(block, index):
            return None
        start = time.monotonic_ns()
        request = self._requests.take(index, self.head, settled=not self._unanswered)
        update = request.update
        try:
            self._apply(request)
            envelope = self.planner.plan()
            encoded = self._pack(envelope)
        except Exception:
            with self._lock:  # a new mesh shows the update, if there is to be one
                self._deferred_updates += [update.record] if update else []
            raise
        record = self._record(start, request, envelope.meta.call_id, encoded)
        with self._lock:  # a chunk that is dropped meanwhile hands its updates to this one, before or after
            updates, self._deferred_updates = self._deferred_updates, []
            updates += [update.record] if update else []
            fence, requested = StreamFence(encoded.header.device), update.update if update else None
            strength = None if self.planner.source is None else self.planner.source.strength
            chunk = InFlightChunk(envelope, encoded, fence, record, updates, requested, strength)
            record.update_ids = tuple(update.id for update in updates)
            self._unanswered.append(chunk)
            self._unfinished[index] = chunk
            self._notify(lambda observer: observer.planned(chunk))
        return chunk

    def accept(self, result: Received) -> ReceivedChunk | None:
        """Take the result of the oldest chunk that waits for one. None when it must not be decoded."""
        chunk = self._unanswered.popleft()
        record, meta = chunk.record, result.message.meta
        record.recv_start_s, record.recv_end_s = result.header_ns / 1e9, result.done_ns / 1e9
        record.recv_ms, record.result_bytes = (result.done_ns - result.header_ns) / 1e6, result.nbytes
        record.denoise_ms, record.context_ms = meta.denoise_ms, meta.context_ms
        record.mesh_idle_ms, record.mesh_text_ms = meta.mesh_idle_ms, meta.text_ms
        result.fence.wait(result.message.tensors.values())
        latents = self._latents(result, chunk)
        self.head = chunk.index
        if chunk.drop_reason != "failed":
            self.planner.learn(chunk.plan, result.message)
        if latents is None or self._requests.timeline.drops(chunk.index):
            self._drop(chunk)
            return None
        self.planner.remember(chunk.envelope, latents)
        return ReceivedChunk(chunk, latents, all_finite(latents), StreamFence(latents.device))

    def prepare(self, received: ReceivedChunk) -> None:
        """Decode and encode what the next plan needs of this chunk's pixels."""
        if self.planner.rebuilds_next:
            self.decoder.prepare(received)

    def finish(self, received: ReceivedChunk) -> None:
        """Decode the rest and give the pixels to the sink, unless a hard cut came in between or they are not finite."""
        chunk = received.chunk
        if self._is_old(chunk):
            self._drop(chunk)
            return
        decoded = self.decoder.finish(received)
        with self._lock:
            if not self._is_old(chunk) and self.failures.rejects(received):
                chunk.drop_reason = "nan"
            if self._is_old(chunk) or chunk.drop_reason == "nan":
                self._drop(chunk)
                return
            self._lead_s = chunk.record.emit_s - chunk.record.build_start_s
            del self._unfinished[chunk.index]
            self._notify(lambda observer: observer.emitted(chunk, received.latents, decoded))
            self._sink.put(decoded)  # last: the sink may show it, and say so, before this line returns

    def abandon(self) -> None:
        """The mesh is lost: drop every unfinished chunk, and begin a new epoch with a mesh that knows nothing.

        What has been given to the sink is still shown.
        """
        with self._lock:
            self._unanswered.clear()
            self.planner.hard_cut(reset_mesh=True)
            self.failures.reset()
            self._mesh_needs_reset = False
            for chunk in list(self._unfinished.values()):
                self._drop(chunk)
            self._notify(lambda observer: observer.epoch_changed(self.planner.cache_epoch, RESTART))

    def message(self, action: Action) -> wire.EncodedMessage:
        """A NOOP or SHUTDOWN, ready to be sent."""
        return self._pack(self.planner.message(action))

    def _has_room(self, block: bool, index: int) -> bool:
        """Ask the sink. The time until it has room becomes a span."""
        asked = time.monotonic_ns()
        room = self._sink.wait_for_room(ROOM_POLL_S if block else 0.0, len(self._unfinished), self._lead_s)
        if self._waiting_since_ns is None:
            self._waiting_since_ns = asked
        if room:
            self._spans.add("wait for room", self._waiting_since_ns, time.monotonic_ns(), chunk=index)
            self._waiting_since_ns = None
        return room

    def _apply(self, request: ChunkRequest) -> None:
        if request.update is not None:
            self.planner.set_target(request.update.target)
        if request.seed is not None:
            self.planner.seed = request.seed
        if request.strength is not None and self.planner.source is not None:
            self.planner.source.strength = request.strength
        if request.cut is None or self.planner.fresh:
            return
        with self._lock:
            reason = FAILED if self._mesh_needs_reset else request.cut
            self.planner.hard_cut(reset_mesh=self._mesh_needs_reset)
            self._mesh_needs_reset = False
            if reason not in KEEP_QUEUED_FRAMES:
                self._sink.flush()
            self._notify(lambda observer: observer.epoch_changed(self.planner.cache_epoch, reason))

    def _record(self, start_ns: int, request: ChunkRequest, call_id: int, encoded: wire.EncodedMessage) -> ChunkRecord:
        end_ns, index = time.monotonic_ns(), self.planner.next_chunk - 1
        self._spans.add("build", start_ns, end_ns, chunk=index, call_id=call_id)
        return ChunkRecord(
            chunk_index=index,
            cache_epoch=self.planner.cache_epoch,
            call_id=call_id,
            build_start_s=start_ns / 1e9,
            build_end_s=end_ns / 1e9,
            text_ms=request.update.text_ms if request.update else 0.0,
            envelope_bytes=encoded.nbytes,
        )

    def _latents(self, result: Received, chunk: InFlightChunk) -> Tensor | None:
        """The result's latents; None for a chunk of an old epoch, or one that the mesh could not make."""
        try:
            return accept(result.message, chunk.envelope, self.planner.cache_epoch)
        except ChunkError as error:
            self.failures.on_chunk_error(chunk.record, error)
            chunk.drop_reason, self._mesh_needs_reset = "failed", True
            return None

    def _drop(self, chunk: InFlightChunk) -> None:
        """Give up a chunk. Its updates move to the next unfinished chunk, or to the next one that is planned."""
        with self._lock:
            index = chunk.index
            if self._unfinished.pop(index, None) is None:
                return  # it was dropped with all others, when the mesh was lost
            following = next((later for key, later in self._unfinished.items() if key > index), None)
            if following is None:
                self._deferred_updates += chunk.updates
            else:
                following.updates[:0] = chunk.updates
                following.record.update_ids = tuple(update.id for update in following.updates)
            self._notify(lambda observer: observer.dropped(chunk))

    def _is_old(self, chunk: InFlightChunk) -> bool:
        return chunk.record.cache_epoch != self.planner.cache_epoch

    def _notify(self, call: Callable[[BaseObserver], None]) -> None:
        for observer in self._observers:
            call(observer)
