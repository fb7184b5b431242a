"""Who watches the chunks go by: receipts of prompt updates, metrics and log, digests. None of them decides anything."""

from __future__ import annotations

import time
from collections import OrderedDict

from torch import Tensor

from pp1_orchestrator.contract.envelope import pixel_frames
from pp1_orchestrator.events import EventBus
from pp1_orchestrator.measure.chunks import ChunkLog
from pp1_orchestrator.measure.digest import ArrayDigest
from pp1_orchestrator.measure.metrics import Metrics
from pp1_orchestrator.measure.records import UpdateRecord
from pp1_orchestrator.ports import DecodedChunk
from pp1_orchestrator.stage0.flight import Flight

WAITING_LIMIT = 256


class Onlooker:
    """Is notified of every chunk, in order, by one thread at a time. Does nothing; subclasses override what they need.

    `planned` may be called while another chunk is being decoded.
    """

    def planned(self, flight: Flight) -> None:
        """The chunk's envelope is ready to be sent."""

    def dropped(self, flight: Flight) -> None:
        """The chunk will not be shown."""

    def emitted(self, flight: Flight, latents: Tensor, decoded: DecodedChunk) -> None:
        """The chunk is about to go to the sink. latents: [1, F, z, h, w]."""

    def epoch_changed(self, epoch: int, reason: str) -> None:
        """A new epoch has begun."""


class Receipts(Onlooker):
    """Says of every update when it was applied and when it became visible."""

    def __init__(self, events: EventBus, metrics: Metrics) -> None:
        self._events, self._metrics = events, metrics
        self._waiting: OrderedDict[str, UpdateRecord] = OrderedDict()
        self._first_shown_s: float | None = None
        self.prompt = ""
        """What the newest planned chunk shows."""
        self.truncated = False
        """Whether the text encoder reads only the beginning of it."""

    def planned(self, flight: Flight) -> None:
        for update in flight.updates:
            if update.applied_chunk is None:
                self._metrics.prompt_update("applied")
            update.applied_chunk = flight.plan.chunk_index
            self.prompt, self.truncated = update.prompt, update.truncated
            self._events.publish(
                "applied", update=update.id, chunk=update.applied_chunk, epoch=flight.record.cache_epoch
            )

    def emitted(self, flight: Flight, latents: Tensor, decoded: DecodedChunk) -> None:
        for update in flight.updates:
            update.applied_chunk = decoded.chunk_index
            update.emitted_s = decoded.decoded_at_s
            chunks = update.applied_chunk - update.accepted_chunk
            self._metrics.prompt_to_pixels(update.emitted_s - update.accepted_s, chunks)
            self._waiting[update.id] = update
            if len(self._waiting) > WAITING_LIMIT:
                self._waiting.popitem(last=False)

    def epoch_changed(self, epoch: int, reason: str) -> None:
        self._events.publish("epoch", epoch=epoch, reason=reason)
        self._metrics.epoch_changed(epoch, reason)

    def shown(self, chunk: DecodedChunk, shown_at_s: float) -> None:
        """A sink's listener; called from the sink's thread. media_s counts from the first picture ever shown."""
        if self._first_shown_s is None:
            self._first_shown_s = shown_at_s
        media_s = round(shown_at_s - self._first_shown_s, 3)
        for update_id in chunk.update_ids:
            update = self._waiting.pop(update_id, None)
            if update is None:
                continue
            latency_ms = round((shown_at_s - update.accepted_s) * 1e3, 1)
            chunks = chunk.chunk_index - update.accepted_chunk
            self._metrics.prompt_update("visible")
            self._events.publish(
                "visible",
                update=update_id,
                chunk=chunk.chunk_index,
                media_s=media_s,
                latency_ms=latency_ms,
                latency_chunks=chunks,
            )


class Telemetry(Onlooker):
    """Feeds the metrics and the chunk log; knows when the last chunk was decoded."""

    def __init__(self, metrics: Metrics, chunk_log: ChunkLog) -> None:
        self._metrics, self._log = metrics, chunk_log
        self.last_emit_s: float | None = None

    def dropped(self, flight: Flight) -> None:
        reason = "failed" if flight.failed else "nan" if flight.spoiled else "old_epoch"
        self._metrics.frames_dropped(reason, pixel_frames(flight.plan.latents_shape[1], flight.plan.init_cache))

    def emitted(self, flight: Flight, latents: Tensor, decoded: DecodedChunk) -> None:
        self.last_emit_s = time.monotonic()
        self._metrics.observe_chunk(flight.record)
        self._log.add(flight.record)


class Digests(Onlooker):
    """What the run made, in two numbers: equal for equal pixels and latents."""

    def __init__(self) -> None:
        self.pixels, self.latents = ArrayDigest(), ArrayDigest()

    def emitted(self, flight: Flight, latents: Tensor, decoded: DecodedChunk) -> None:
        self.pixels.update(decoded.frames.numpy())
        self.latents.update(latents.cpu().numpy())
