"""The moves of a chunk on rank 0: `plan` makes the envelope, `accept` takes the result, `prepare` and `finish` turn it
into pixels.

An overlap strategy decides when each runs, and on which thread `prepare` and `finish` do; `plan` and `accept` belong to
the session's thread.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pp1_orchestrator.contract import Action, wire
from pp1_orchestrator.contract.result import accept
from pp1_orchestrator.errors import ChunkError
from pp1_orchestrator.stage0.chunk import FAILED, RESTART, InFlightChunk, ReceivedChunk
from pp1_orchestrator.stage0.decoder import ChunkDecoder
from pp1_orchestrator.stage0.failures import KEEP_QUEUED_FRAMES, FailurePolicy
from pp1_orchestrator.stage0.observers import BaseObserver
from pp1_orchestrator.stage0.pending_requests import ChunkRequest, PendingRequests
from pp1_orchestrator.stage0.planner import Planner
from pp1_orchestrator.stage0.routing import Routing
from pp1_orchestrator.telemetry.records import ChunkRecord, UpdateRecord
from pp1_orchestrator.telemetry.spans import SpanRecorder
from pp1_orchestrator.transport.cuda_streams import StreamFence
from pp1_orchestrator.transport.link import Received
from pp1_orchestrator.types import FrameSink

ROOM_POLL_S = 0.1
"""How long a plan waits for room before the loop looks at stop, pause and heartbeat again."""


def all_finite(tensor: Tensor) -> Tensor:
    """A bool on the tensor's device. Least and most say it at once, and without a value for each element."""
    return torch.isfinite(torch.stack(torch.aminmax(tensor))).all()


class ChunkPipeline:
    """Plans and finishes chunks in order."""

    def __init__(
        self,
        planner: Planner,
        routing: Routing,
        wishes: PendingRequests,
        decoding: ChunkDecoder,
        sink: FrameSink,
        observers: Sequence[BaseObserver],
        spans: SpanRecorder,
        pack: Callable[..., wire.EncodedMessage],
        spoiled_limit: int,
    ) -> None:
        """spoiled_limit: so many epochs in a row that are spoiled mean that the mesh is."""
        self._planner, self._routing, self._wishes, self._sink = planner, routing, wishes, sink
        self._decoding, self._observers, self._spans, self._pack = decoding, observers, spans, pack
        self._flights: deque[InFlightChunk] = deque()
        """Planned, and no result yet. Only the session's thread uses it."""
        self._open: dict[int, InFlightChunk] = {}
        """Planned, and neither shown nor dropped, by chunk in order. Guarded by `_emitting`."""
        self._carried: list[UpdateRecord] = []
        self._emitting = threading.RLock()
        self._spoilage = FailurePolicy(spoiled_limit, wishes.request_cut)
        self._gave_up = False
        """The mesh has given its caches up with a chunk that it could not make."""
        self._lead_s = 0.0
        self._room_wanted_ns: int | None = None
        self.head = -1
        """Newest chunk whose result has reached rank 0."""

    @property
    def in_flight(self) -> int:
        """Chunks that have been planned and neither shown nor dropped."""
        return len(self._open)

    @property
    def needs_pixels(self) -> bool:
        """True when the next plan waits for `prepare`."""
        return self._decoding.needs_pixels

    @property
    def decode_cache_bytes(self) -> int:
        return self._decoding.cache_bytes

    @property
    def epoch(self) -> int:
        return self._planner.cache_epoch

    def check(self) -> None:
        """Raises MeshError when what comes from the mesh can't be shown, whatever is tried."""
        self._spoilage.check()

    def plan(self, block: bool) -> InFlightChunk | None:
        """The next chunk, or None when none is wanted now. `block` waits a little for room."""
        chunk = self._planner.next_chunk
        if not self._wishes.wants_chunk(chunk) or (self._open and self._wishes.must_wait(chunk)):
            return None
        if self._flights and self._planner.needs_history:
            return None
        if not self._has_room(block, chunk):
            return None
        start = time.monotonic_ns()
        wish = self._wishes.take(chunk, self.head, settled=not self._flights)
        self._apply(wish)
        envelope = self._planner.plan()
        parcel = self._pack(envelope)
        record = self._record(start, wish, envelope.meta.call_id, parcel)
        requested = wish.update.update if wish.update else None
        with self._emitting:  # a chunk that is dropped meanwhile hands its updates on to this one, before or after
            flight = InFlightChunk(envelope, parcel, StreamFence(parcel.device), record, self._updates(wish), requested)
            flight.record.update_ids = tuple(update.id for update in flight.updates)
            self._flights.append(flight)
            self._open[chunk] = flight
            self._tell(lambda o: o.planned(flight))
        return flight

    def accept(self, received: Received) -> ReceivedChunk | None:
        """Take the oldest flight's result; None when it must not be decoded."""
        flight = self._flights.popleft()
        flight.record.result_bytes = received.nbytes
        received.fence.wait(received.message.tensors.values())
        latents = self._latents(received, flight)
        self.head = flight.plan.chunk_index
        self._take_figures(flight.record, received)
        if flight.plan.recipe is not None and not flight.failed:
            self._routing.learn(flight.plan.recipe, received.message)
        if latents is None or self._wishes.drops(flight.plan.chunk_index):
            self._drop(flight)
            return None
        self._planner.history.add(latents)
        return ReceivedChunk(flight, latents, all_finite(latents), StreamFence(latents.device))

    def _latents(self, received: Received, flight: InFlightChunk) -> Tensor | None:
        try:
            return accept(received.message, flight.envelope, self._planner.cache_epoch)
        except ChunkError as error:
            self._spoilage.failed(flight.record, error)
            flight.failed = self._gave_up = True
            return None

    def prepare(self, accepted: ReceivedChunk) -> None:
        """Whatever the next plan needs of this chunk's pixels."""
        if self._planner.rebuilds_next:
            self._decoding.prepare(accepted)

    def finish(self, accepted: ReceivedChunk) -> None:
        """Decode the rest and hand the pixels on, unless a hard cut came in between or they are no pixels."""
        flight = accepted.flight
        if self._is_old(flight):
            self._drop(flight)
            return
        decoded = self._decoding.finish(accepted)
        with self._emitting:
            old = self._is_old(flight)
            flight.spoiled = not old and self._spoilage.spoils(accepted)
            if old or flight.spoiled:
                self._drop(flight)
                return
            self._lead_s = flight.record.emit_s - flight.record.build_start_s
            del self._open[flight.plan.chunk_index]
            self._tell(lambda o: o.emitted(flight, accepted.latents, decoded))
            self._sink.put(decoded)  # last: the sink may show it, and say so, before this line returns

    def abandon(self) -> None:
        """The mesh is lost: drop every chunk that is under way, and begin a new epoch with a mesh that knows nothing.

        What has been handed to the sink is still shown.
        """
        with self._emitting:
            self._flights.clear()
            self._planner.start_over()
            self._spoilage.forgive()
            self._gave_up = False
            for flight in list(self._open.values()):
                self._drop(flight)
            self._tell(lambda o: o.epoch_changed(self._planner.cache_epoch, RESTART))

    def message(self, action: Action) -> wire.EncodedMessage:
        """A NOOP or SHUTDOWN, packed."""
        return self._pack(self._planner.message(action))

    def _has_room(self, block: bool, chunk: int) -> bool:
        """Ask the sink; how long it took until it said yes is a span of its own."""
        asked = time.monotonic_ns()
        room = self._sink.wait_for_room(ROOM_POLL_S if block else 0.0, len(self._open), self._lead_s)
        if self._room_wanted_ns is None:
            self._room_wanted_ns = asked
        if room:
            self._spans.add("wait for room", self._room_wanted_ns, time.monotonic_ns(), chunk=chunk)
            self._room_wanted_ns = None
        return room

    def _is_old(self, flight: InFlightChunk) -> bool:
        return flight.record.cache_epoch != self._planner.cache_epoch

    def _apply(self, wish: ChunkRequest) -> None:
        if wish.update is not None:
            self._planner.aim(wish.update.aim)
        if wish.seed is not None:
            self._planner.seed = wish.seed
        if wish.cut is not None and not self._planner.fresh:
            with self._emitting:
                reason = FAILED if self._gave_up else wish.cut
                begin = self._planner.start_over if self._gave_up else self._planner.hard_cut
                begin()
                self._gave_up = False
                if reason not in KEEP_QUEUED_FRAMES:  # else what still waits to be shown bridges the gap
                    self._sink.flush()
                self._tell(lambda o: o.epoch_changed(self._planner.cache_epoch, reason))

    def _updates(self, wish: ChunkRequest) -> list[UpdateRecord]:
        """The updates that a chunk shows first: its own, and those of chunks that were dropped before it."""
        carried, self._carried = self._carried, []
        return carried + ([wish.update.record] if wish.update else [])

    def _record(self, start_ns: int, wish: ChunkRequest, call_id: int, parcel: wire.EncodedMessage) -> ChunkRecord:
        end_ns, chunk = time.monotonic_ns(), self._planner.next_chunk - 1
        self._spans.add("build", start_ns, end_ns, chunk=chunk, call_id=call_id)
        return ChunkRecord(
            chunk_index=chunk,
            cache_epoch=self._planner.cache_epoch,
            call_id=call_id,
            build_start_s=start_ns / 1e9,
            build_end_s=end_ns / 1e9,
            text_ms=wish.update.text_ms if wish.update else 0.0,
            envelope_bytes=parcel.nbytes,
        )

    def _drop(self, flight: InFlightChunk) -> None:
        """A chunk that nobody will see: its updates become visible with the next one instead."""
        with self._emitting:
            if self._open.pop(flight.plan.chunk_index, None) is None:
                return  # it was dropped with all others, when the mesh was lost
            chunk = flight.plan.chunk_index
            following = next((later for index, later in self._open.items() if index > chunk), None)
            if following is None:
                self._carried += flight.updates
            else:
                following.updates[:0] = flight.updates
                following.record.update_ids = tuple(update.id for update in following.updates)
            self._tell(lambda o: o.dropped(flight))

    def _take_figures(self, record: ChunkRecord, received: Received) -> None:
        meta = received.message.meta
        record.recv_start_s, record.recv_end_s = received.header_ns / 1e9, received.done_ns / 1e9
        record.recv_ms = (received.done_ns - received.header_ns) / 1e6
        record.denoise_ms, record.context_ms = meta.denoise_ms, meta.context_ms
        record.mesh_idle_ms, record.mesh_text_ms = meta.mesh_idle_ms, meta.text_ms

    def _tell(self, call: Callable[[BaseObserver], None]) -> None:
        for observer in self._observers:
            call(observer)
