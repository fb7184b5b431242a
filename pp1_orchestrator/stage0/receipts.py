"""What becomes of each prompt update. Each one that is accepted ends exactly once: visible, superseded or failed.

A chunk may be lost between its plan and the screen: dropped by the pipeline, or thrown away by the sink at a hard cut.
The first later chunk that is shown then shows its update, and ends it.
"""

import threading
from collections import OrderedDict
from typing import Any

from torch import Tensor

from pp1_orchestrator.event_bus import EventBus
from pp1_orchestrator.stage0.in_flight_chunk import InFlightChunk
from pp1_orchestrator.stage0.observers import BaseObserver
from pp1_orchestrator.telemetry.metrics import Metrics
from pp1_orchestrator.telemetry.records import UpdateRecord
from pp1_orchestrator.types import DecodedChunk

WAITING_LIMIT = 256
"""Updates that are decoded and not shown yet."""


class Receipts(BaseObserver):
    """Thread-safe. Events are published under the lock, so that none of an update comes after its last one."""

    def __init__(self, events: EventBus, metrics: Metrics) -> None:
        self._events, self._metrics = events, metrics
        self._lock = threading.Lock()
        self._open: OrderedDict[str, UpdateRecord] = OrderedDict()
        """Updates that have not ended."""
        self._waiting: list[UpdateRecord] = []
        """Those whose first chunk has been decoded and not been shown, oldest first."""
        self._ended = False
        self._first_shown_s: float | None = None
        self.prompt = ""
        """The newest update that was applied."""
        self.truncated = False
        """The text encoder reads only the beginning of it."""

    def accepted(self, update: UpdateRecord) -> bool:
        """A new update. False after `end`: nothing is reported of it then."""
        with self._lock:
            if self._ended:
                return False
            self._open[update.id] = update
            self._metrics.prompt_update("accepted")
            details: dict[str, Any] = {}
            if update.truncated:
                details = {"truncated": True, "read_chars": update.read_chars}
            self._events.publish(
                "accepted", update=update.id, prompt=update.prompt, chunk=update.accepted_chunk, **details
            )
            return True

    def superseded(self, old: UpdateRecord, new: UpdateRecord) -> None:
        """A newer update comes in its place, and it was not seen."""
        with self._lock:
            self._supersede(old, new)

    def failed(self, update: UpdateRecord, reason: str) -> None:
        """It could not be encoded."""
        with self._lock:
            self._fail(update, reason)

    def end(self, reason: str) -> None:
        """The stream ends: every open update has failed, and no other is accepted."""
        with self._lock:
            self._ended = True
            for update in list(self._open.values()):
                self._fail(update, reason)

    def planned(self, chunk: InFlightChunk) -> None:
        with self._lock:
            for update in chunk.updates:
                self.prompt, self.truncated = update.prompt, update.truncated
                first, update.applied_chunk = update.applied_chunk is None, chunk.index
                if update.id not in self._open:
                    continue
                if first:
                    self._metrics.prompt_update("applied")
                self._events.publish("applied", update=update.id, chunk=chunk.index, epoch=chunk.record.cache_epoch)

    def emitted(self, chunk: InFlightChunk, latents: Tensor, decoded: DecodedChunk) -> None:
        with self._lock:
            for update in chunk.updates:
                update.applied_chunk, update.emitted_s = chunk.index, decoded.decoded_at_s
                latency_s = update.emitted_s - update.accepted_s
                self._metrics.prompt_to_pixels(latency_s, chunk.index - update.accepted_chunk)
                self._waiting.append(update)
            while len(self._waiting) > WAITING_LIMIT:
                self._supersede(self._waiting.pop(0), self._waiting[-1])

    def epoch_changed(self, epoch: int, reason: str) -> None:
        self._events.publish("epoch", epoch=epoch, reason=reason)
        self._metrics.epoch_changed(epoch, reason)

    def shown(self, chunk: DecodedChunk, shown_at_s: float) -> None:
        """A chunk's first frame goes out; called from the sink's thread. media_s counts from the first frame shown.

        Of several updates that it is the first to show, only the newest can be seen.
        """
        with self._lock:
            if self._first_shown_s is None:
                self._first_shown_s = shown_at_s
            due = [update for update in self._waiting if (update.applied_chunk or 0) <= chunk.chunk_index]
            if not due:
                return
            del self._waiting[: len(due)]
            newest = due.pop()
            for update in due:
                self._supersede(update, newest)
            if self._close(newest, "visible"):
                self._events.publish(
                    "visible",
                    update=newest.id,
                    chunk=chunk.chunk_index,
                    media_s=round(shown_at_s - self._first_shown_s, 3),
                    latency_ms=round((shown_at_s - newest.accepted_s) * 1e3, 1),
                    latency_chunks=chunk.chunk_index - newest.accepted_chunk,
                )

    def _supersede(self, old: UpdateRecord, new: UpdateRecord) -> None:
        if self._close(old, "superseded"):
            old.superseded = True
            self._events.publish("superseded", update=old.id, by=new.id)

    def _fail(self, update: UpdateRecord, reason: str) -> None:
        if self._close(update, "failed"):
            self._events.publish("failed", update=update.id, reason=reason)

    def _close(self, update: UpdateRecord, outcome: Any) -> bool:
        """Count the outcome. False for an update that has ended already."""
        if self._open.pop(update.id, None) is None:
            return False
        self._metrics.prompt_update(outcome)
        return True
