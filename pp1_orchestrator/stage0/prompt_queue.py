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
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pp1_orchestrator.errors import named_line, public_line
from pp1_orchestrator.events import EventBus
from pp1_orchestrator.stage0.conditioning import ConditioningTarget
from pp1_orchestrator.stage0.routing import Routing
from pp1_orchestrator.stage0.validation import label, parse_update
from pp1_orchestrator.telemetry.metrics import Metrics
from pp1_orchestrator.telemetry.records import UpdateRecord
from pp1_orchestrator.types import Cut, PromptReceipt, PromptUpdate

log = logging.getLogger(__name__)
KEPT_RECORDS = 10_000
PREFETCH_LIMIT = 8
"""Updates that are encoded before their time has come."""
FORESEEN_PROMPTS = 16
"""Prompts in them: few enough for the encoder's cache to hold them beside all that is shown and live meanwhile."""


@dataclass(frozen=True, slots=True)
class ReadyUpdate:
    """An update whose prompts rank 0 has done its work on."""

    record: UpdateRecord
    update: PromptUpdate
    aim: ConditioningTarget
    text_ms: float


class PromptQueue:
    """Every update of a run. `take` belongs to the stage's thread; the rest may be called from any thread."""

    def __init__(self, routing: Routing, events: EventBus, metrics: Metrics, too_long: Callable[[str], bool]) -> None:
        """too_long: whether the text encoder reads only the beginning of a prompt."""
        self._routing, self._events, self._metrics = routing, events, metrics
        self._too_long = too_long
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._pending: queue.SimpleQueue[tuple[UpdateRecord, PromptUpdate, ConditioningTarget] | None] = (
            queue.SimpleQueue()
        )
        self._ready: ReadyUpdate | None = None
        self._foreseen: queue.SimpleQueue[ConditioningTarget] = queue.SimpleQueue()
        self._closed = False
        self.records: list[UpdateRecord] = []
        self._thread = threading.Thread(target=self._work, name="text-encoder", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def accept(self, update: PromptUpdate, head_chunk: int) -> PromptReceipt:
        """Take an update. head_chunk: newest chunk whose result has reached rank 0."""
        aim = parse_update(update)
        record = self._record(aim, head_chunk)
        self._pending.put((record, update, aim))
        return PromptReceipt(record.id, record.truncated)

    def prepare(self, update: PromptUpdate, head_chunk: int, needed: bool = False) -> ReadyUpdate | None:
        """A scripted update, here and now; quick when `foresee` has been told of it in time.

        None when it can't be encoded; needed: then raise the reason instead, as there is nothing else to show.
        """
        aim = parse_update(update)
        record = self._record(aim, head_chunk)
        try:
            return self._ready_update(record, update, aim)
        except Exception as error:
            self._fail(record, error)
            if needed:
                raise
            return None

    def foresee(self, updates: Iterable[PromptUpdate]) -> None:
        """Do the slow work on the next few updates to come, beside the running stream, in place of those before."""
        foreseen: queue.SimpleQueue[ConditioningTarget] = queue.SimpleQueue()
        prompts = 0
        for update in itertools.islice(updates, PREFETCH_LIMIT):
            aim = parse_update(update)
            prompts += len(aim.terms)
            if prompts > FORESEEN_PROMPTS:
                break
            foreseen.put(aim)
        self._foreseen = foreseen
        self._pending.put(None)

    def next_cut(self) -> Cut | None:
        """How the update that `take` would return treats the history."""
        with self._lock:
            return None if self._ready is None else self._ready.update.cut

    def take(self, settled: bool = True) -> ReadyUpdate | None:
        """The newest update that is ready, once. One with cut=recache stays where it is until things are settled."""
        with self._lock:
            if self._ready is not None and self._ready.update.cut == "recache" and not settled:
                return None
            ready, self._ready = self._ready, None
            return ready

    def close(self, timeout_s: float) -> None:
        """End the thread; one that is still encoding after timeout_s is left to end with the process."""
        self._closed = True
        self._pending.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _record(self, aim: ConditioningTarget, head_chunk: int) -> UpdateRecord:
        text = label(aim.terms)
        record = UpdateRecord(f"u{next(self._ids)}", text, head_chunk, time.monotonic())
        record.truncated = any(self._too_long(term.text) for term in aim.terms)
        with self._lock:
            self.records.append(record)
            del self.records[:-KEPT_RECORDS]
        log.info("update %s is accepted", record.id, extra={"update": record.id, "chunk": head_chunk, "prompt": text})
        self._metrics.prompt_update("accepted")
        cut = {"truncated": True} if record.truncated else {}
        self._events.publish("accepted", update=record.id, prompt=text, chunk=head_chunk, **cut)
        return record

    def _work(self) -> None:
        """Live updates first; what is merely foreseen only while none waits. None in the queue just wakes it up."""
        while not self._closed:
            foreseen = self._foreseen
            if self._pending.empty() and not foreseen.empty():
                self._try(foreseen.get())
                continue
            item = self._newest_pending()
            if item is not None:
                self._make_ready(*item)

    def _try(self, aim: ConditioningTarget) -> None:
        try:
            self._routing.prepare([term.text for term in aim.terms])
        except Exception as error:  # noqa: BLE001 - whatever an encoder raises, the thread is there for the next one
            log.warning("a prompt of the timeline could not be encoded yet: %s", named_line(error))

    def _make_ready(self, record: UpdateRecord, update: PromptUpdate, aim: ConditioningTarget) -> None:
        try:
            ready = self._ready_update(record, update, aim)
        except Exception as error:  # noqa: BLE001 - whatever an encoder raises, the thread is there for the next one
            self._fail(record, error)
            return
        with self._lock:
            overtaken, self._ready = self._ready, ready
        if overtaken is not None:
            self._supersede(overtaken.record, record)

    def _fail(self, record: UpdateRecord, error: Exception) -> None:
        """The stream goes on with what it shows."""
        log.error("update %s could not be encoded", record.id, extra={"update": record.id}, exc_info=error)
        self._metrics.prompt_update("failed")
        self._events.publish("failed", update=record.id, reason=public_line(error))

    def _newest_pending(self) -> tuple[UpdateRecord, PromptUpdate, ConditioningTarget] | None:
        """Wait for something to do; of several updates the newest."""
        newest = self._pending.get()
        while not self._pending.empty():
            item = self._pending.get()
            if item is not None:
                if newest is not None:
                    self._supersede(newest[0], item[0])
                newest = item
        return newest

    def _supersede(self, old: UpdateRecord, new: UpdateRecord) -> None:
        old.superseded = True
        self._metrics.prompt_update("superseded")
        self._events.publish("superseded", update=old.id, by=new.id)

    def _ready_update(self, record: UpdateRecord, update: PromptUpdate, aim: ConditioningTarget) -> ReadyUpdate:
        start = time.monotonic()
        self._routing.prepare([term.text for term in aim.terms])
        return ReadyUpdate(record, update, aim, (time.monotonic() - start) * 1e3)
