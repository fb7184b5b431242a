"""Prompt updates on their way to a chunk: accepted, encoded beside the running stream, then taken by the next plan.

The latest update wins; one that was overtaken before a chunk was made with it is reported as superseded. Encoding
happens on a thread of its own, so the stream goes on with the old prompt until the new embedding is ready.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from dataclasses import dataclass

from pp1_orchestrator.errors import Pp1Error, RequestError
from pp1_orchestrator.events import EventBus
from pp1_orchestrator.measure.records import UpdateRecord
from pp1_orchestrator.ports import PromptUpdate
from pp1_orchestrator.strategies.routing.base import Conditioning, Routing

log = logging.getLogger(__name__)
MAX_PROMPT_CHARS = 2000
KEPT_RECORDS = 10_000


@dataclass(frozen=True, slots=True)
class ReadyUpdate:
    """An update whose conditioning exists."""

    record: UpdateRecord
    conditioning: Conditioning
    hard_cut: bool
    text_ms: float


def check_update(update: PromptUpdate) -> str:
    """The prompt that an update asks for. Raises RequestError for what can't be shown."""
    texts = [p.text for p in update.prompts] if update.prompt is None else [update.prompt]
    if update.prompt is not None and update.prompts:
        raise RequestError("prompt and prompts exclude each other")
    if len(texts) != 1:
        raise RequestError(f"prompts has {len(texts)} entries; this version shows exactly 1 at a time")
    if update.transition is not None and update.transition.steps:
        raise RequestError(f"transition.steps is {update.transition.steps}; this version changes at once: 0")
    text = texts[0].strip()
    if not text:
        raise RequestError("prompt is empty")
    if len(text) > MAX_PROMPT_CHARS:
        raise RequestError(f"prompt has {len(text)} characters; at most {MAX_PROMPT_CHARS} are taken")
    return text


class PromptBook:
    """Every update of a run. `take` belongs to the stage's thread; the rest may be called from any thread."""

    def __init__(self, routing: Routing, events: EventBus) -> None:
        self._routing, self._events = routing, events
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._encoding = threading.Lock()
        self._pending: queue.SimpleQueue[tuple[UpdateRecord, PromptUpdate] | None] = queue.SimpleQueue()
        self._ready: ReadyUpdate | None = None
        self.records: list[UpdateRecord] = []
        self._thread = threading.Thread(target=self._encode_pending, name="text-encoder", daemon=True)
        self._thread.start()

    def accept(self, update: PromptUpdate, head_chunk: int) -> str:
        """Take an update and return its id. head_chunk: newest chunk whose result has reached rank 0."""
        record = self._record(update, head_chunk)
        self._pending.put((record, update))
        return record.id

    def prepare(self, update: PromptUpdate, head_chunk: int) -> ReadyUpdate:
        """Encode a scripted update here and now."""
        return self._encode(self._record(update, head_chunk), update)

    def take(self) -> ReadyUpdate | None:
        """The newest update that is ready, once."""
        with self._lock:
            ready, self._ready = self._ready, None
            return ready

    def close(self) -> None:
        self._pending.put(None)
        self._thread.join(timeout=5.0)

    def _record(self, update: PromptUpdate, head_chunk: int) -> UpdateRecord:
        text = check_update(update)
        record = UpdateRecord(f"u{next(self._ids)}", text, head_chunk, time.monotonic())
        with self._lock:
            self.records.append(record)
            del self.records[:-KEPT_RECORDS]
        self._events.publish("accepted", update=record.id, prompt=text, chunk=head_chunk)
        return record

    def _encode_pending(self) -> None:
        while (item := self._newest_pending()) is not None:
            record, update = item
            try:
                ready = self._encode(record, update)
            except (Pp1Error, RuntimeError) as error:
                log.exception("update %s could not be encoded", record.id)
                self._events.publish("failed", update=record.id, reason=str(error))
                continue
            with self._lock:
                overtaken, self._ready = self._ready, ready
            if overtaken is not None:
                self._supersede(overtaken.record, record)

    def _newest_pending(self) -> tuple[UpdateRecord, PromptUpdate] | None:
        item = self._pending.get()
        while item is not None and not self._pending.empty():
            newer = self._pending.get()
            if newer is not None:
                self._supersede(item[0], newer[0])
            item = newer
        return item

    def _supersede(self, old: UpdateRecord, new: UpdateRecord) -> None:
        old.superseded = True
        self._events.publish("superseded", update=old.id, by=new.id)

    def _encode(self, record: UpdateRecord, update: PromptUpdate) -> ReadyUpdate:
        start = time.monotonic()
        with self._encoding:
            conditioning = self._routing.prepare(record.prompt)
        return ReadyUpdate(record, conditioning, update.cut == "hard", (time.monotonic() - start) * 1e3)
