"""The two ends of a chunk on rank 0: `plan` makes the envelope, `finish` turns the result into pixels.

An overlap strategy decides when each runs. All of it belongs to the session's thread.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from pp1_orchestrator.contract import Action, wire
from pp1_orchestrator.contract.result import accept
from pp1_orchestrator.measure.records import ChunkRecord
from pp1_orchestrator.measure.spans import SpanRecorder
from pp1_orchestrator.models.vae.base import DecodeState, StreamingDecoder, to_uint8
from pp1_orchestrator.ports import DecodedChunk, FrameSink
from pp1_orchestrator.stage0.flight import Flight
from pp1_orchestrator.stage0.planner import Planner
from pp1_orchestrator.stage0.prompts import ReadyUpdate
from pp1_orchestrator.transport.messages import Received

ROOM_POLL_S = 0.1
"""How long a plan waits for room before the loop looks at stop, pause and heartbeat again."""


class Wishes(Protocol):
    """What is wanted of the next chunk (`stage0.wishes`)."""

    def wants_chunk(self, chunk: int) -> bool: ...

    def must_wait(self, chunk: int) -> bool:
        """True when chunk must not be planned while another one is in flight."""
        ...

    def take_update(self, chunk: int, head: int) -> ReadyUpdate | None: ...

    def take_cut(self, chunk: int) -> str | None:
        """The reason of a hard cut before this chunk, once."""
        ...

    def take_seed(self) -> int | None: ...


class Observer(Protocol):
    """Told of every chunk, in order, on the session's thread."""

    def planned(self, flight: Flight) -> None: ...

    def dropped(self, flight: Flight) -> None: ...

    def emitted(self, flight: Flight, latents: Tensor, decoded: DecodedChunk) -> None: ...

    def epoch_changed(self, epoch: int, reason: str) -> None: ...


class Stage:
    """Plans and finishes chunks in order."""

    def __init__(
        self,
        planner: Planner,
        wishes: Wishes,
        decoder: StreamingDecoder,
        sink: FrameSink,
        observers: Sequence[Observer],
        spans: SpanRecorder,
        device: torch.device,
    ) -> None:
        self._planner, self._wishes, self._decoder, self._sink = planner, wishes, decoder, sink
        self._observers, self._spans, self._device = observers, spans, device
        self._flights: deque[Flight] = deque()
        self._state = DecodeState()
        self._lead_s = 0.0
        self.head = -1
        """Newest chunk whose result has reached rank 0."""

    @property
    def in_flight(self) -> int:
        return len(self._flights)

    @property
    def decode_cache_bytes(self) -> int:
        return self._state.nbytes

    @property
    def epoch(self) -> int:
        return self._planner.cache_epoch

    def plan(self, block: bool) -> Flight | None:
        """The next chunk, or None when none is wanted now. `block` waits a little for room."""
        chunk = self._planner.next_chunk
        if not self._wishes.wants_chunk(chunk) or (self._flights and self._wishes.must_wait(chunk)):
            return None
        if not self._sink.wait_for_room(ROOM_POLL_S if block else 0.0, len(self._flights), self._lead_s):
            return None
        start = time.monotonic_ns()
        update = self._apply_wishes(chunk)
        envelope = self._planner.plan()
        parcel = wire.pack_envelope(envelope, self._device)
        end = time.monotonic_ns()
        call_id = envelope.meta.call_id
        self._spans.add("build", start, end, chunk=chunk, call_id=call_id)
        record = ChunkRecord(
            chunk_index=chunk,
            cache_epoch=envelope.meta.cache_epoch,
            call_id=call_id,
            build_start_s=start / 1e9,
            build_end_s=end / 1e9,
            text_ms=update.text_ms if update else 0.0,
            envelope_bytes=parcel.nbytes,
            update_ids=(update.record.id,) if update else (),
        )
        flight = Flight(envelope, parcel, record, [update.record] if update else [])
        self._flights.append(flight)
        self._tell(lambda o: o.planned(flight))
        return flight

    def finish(self, received: Received) -> None:
        """Accept the oldest flight's result, decode it and hand the pixels on."""
        flight = self._flights.popleft()
        flight.record.result_bytes = received.nbytes
        latents = accept(received.message, flight.envelope, self._planner.cache_epoch)
        self.head = flight.plan.chunk_index
        self._take_figures(flight.record, received)
        if latents is None:
            self._drop(flight)
            return
        decoded = self._decode(flight, latents)
        self._tell(lambda o: o.emitted(flight, latents, decoded))
        self._sink.put(decoded)  # last: the sink may show it, and say so, before this line returns

    def message(self, action: Action) -> wire.Parcel:
        """A NOOP or SHUTDOWN, packed."""
        return wire.pack_envelope(self._planner.message(action), self._device)

    def _apply_wishes(self, chunk: int) -> ReadyUpdate | None:
        update = self._wishes.take_update(chunk, self.head)
        if update is not None:
            self._planner.set_conditioning(update.conditioning)
        seed = self._wishes.take_seed()
        if seed is not None:
            self._planner.seed = seed
        reason = self._wishes.take_cut(chunk)
        if update is not None and update.hard_cut:
            reason = reason or f"update {update.record.id}"
        if reason is not None:
            self._cut(reason)
        return update

    def _cut(self, reason: str) -> None:
        if self._planner.fresh:
            return
        self._planner.hard_cut()
        self._sink.flush()
        self._tell(lambda o: o.epoch_changed(self._planner.cache_epoch, reason))

    def _drop(self, flight: Flight) -> None:
        """An old epoch's result: its updates become visible with the next chunk instead."""
        if self._flights:
            following = self._flights[0]
            following.updates[:0] = flight.updates
            following.record.update_ids = flight.record.update_ids + following.record.update_ids
        self._tell(lambda o: o.dropped(flight))

    def _decode(self, flight: Flight, latents: Tensor) -> DecodedChunk:
        if flight.plan.init_cache:
            self._state = DecodeState()
        start = time.monotonic_ns()
        frames = to_uint8(self._decoder.decode(latents[0], self._state))
        end = time.monotonic_ns()
        record = flight.record
        record.decode_start_s, record.emit_s, record.frames = start / 1e9, end / 1e9, len(frames)
        self._spans.add("decode", start, end, chunk=record.chunk_index)
        self._lead_s = record.emit_s - record.build_start_s
        ids = tuple(update.id for update in flight.updates)
        return DecodedChunk(record.chunk_index, record.cache_epoch, frames, ids, end / 1e9)

    def _take_figures(self, record: ChunkRecord, received: Received) -> None:
        meta = received.message.meta
        record.recv_start_s, record.recv_end_s = received.header_ns / 1e9, received.done_ns / 1e9
        record.recv_ms = (received.done_ns - received.header_ns) / 1e6
        record.denoise_ms, record.context_ms = meta.denoise_ms, meta.context_ms
        record.mesh_idle_ms = meta.mesh_idle_ms

    def _tell(self, call: Callable[[Observer], None]) -> None:
        for observer in self._observers:
            call(observer)
