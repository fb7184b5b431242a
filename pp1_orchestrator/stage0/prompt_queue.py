"""Prompt updates on their way to a chunk: accepted, encoded while the stream runs, then taken by the next plan.

The latest update wins; one that is replaced before a chunk was made with it is superseded. A thread encodes, so the
stream shows the old prompt until the new embedding is ready.
"""

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from pp1_orchestrator.errors import RequestError, named_line, public_line
from pp1_orchestrator.stage0.conditioning import ConditioningTarget
from pp1_orchestrator.stage0.receipts import Receipts
from pp1_orchestrator.stage0.text_routing import Routing
from pp1_orchestrator.stage0.validation import label, parse_update
from pp1_orchestrator.telemetry.records import UpdateRecord
from pp1_orchestrator.types import Cut, PromptReceipt, PromptUpdate

log = logging.getLogger(__name__)
KEPT_RECORDS = 10_000
PREFETCH_LIMIT = 8
"""Planned updates that are encoded early."""
PREFETCH_PROMPTS = 16
"""Prompts in them. Well below the encoder's cache, so that live prompts do not evict what was prefetched."""


@dataclass(frozen=True, slots=True)
class QueuedUpdate:
    """An update, what it asks for, and how long rank 0 worked on its prompts."""

    record: UpdateRecord
    update: PromptUpdate
    target: ConditioningTarget
    text_ms: float = 0.0


class PromptQueue:
    """All updates of a run. `take` belongs to the session's thread; any thread may call the rest.

    read_chars: how many characters of a prompt the text encoder reads; None for all of them.
    """

    def __init__(self, routing: Routing, receipts: Receipts, read_chars: Callable[[str], int | None]) -> None:
        self._routing, self._receipts, self._read_chars = routing, receipts, read_chars
        self._ids = itertools.count(1)
        self._changed = threading.Condition()
        """Guards all that follows; wakes the worker."""
        self._pending: QueuedUpdate | None = None
        """The newest live update, until it is being encoded."""
        self._ready: QueuedUpdate | None = None
        self._passed_over = False
        """A planned update has taken the chunk for which `_ready` waited."""
        self._planned: deque[ConditioningTarget] = deque()
        self._closed = False
        self.records: list[UpdateRecord] = []
        """The newest updates, oldest first."""
        self._thread = threading.Thread(target=self._worker, name="text-encoder", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def accept(self, update: PromptUpdate, head: int) -> PromptReceipt:
        """Take a live update. Raises RequestError. head: newest chunk whose result has reached rank 0."""
        queued = self._enter(update, head)
        if not self._receipts.accepted(queued.record):
            raise RequestError("the stream is ending; no update is taken", status=503)
        with self._changed:
            replaced, self._pending = self._pending, queued
            self._changed.notify()
        if replaced is not None:
            self._receipts.superseded(replaced.record, queued.record)
        return PromptReceipt(queued.record.id, queued.record.truncated, queued.record.read_chars)

    def prepare(self, update: PromptUpdate, head: int, needed: bool = False) -> QueuedUpdate | None:
        """Encode a planned update in the caller's thread. Takes no time when it was prefetched.

        Returns None when it can't be encoded. needed: raise the reason instead, as there is nothing else to show.
        """
        queued = self._enter(update, head)
        self._receipts.accepted(queued.record)
        return self._encode(queued, needed)

    def prefetch(self, updates: Iterable[PromptUpdate]) -> None:
        """Encode the next few planned updates beside the running stream. They replace those of the call before."""
        planned: deque[ConditioningTarget] = deque()
        prompts = 0
        for update in itertools.islice(updates, PREFETCH_LIMIT):
            target = parse_update(update)
            prompts += len(target.terms)
            if prompts > PREFETCH_PROMPTS:
                break
            planned.append(target)
        with self._changed:
            self._planned = planned
            self._changed.notify()

    def next_cut(self) -> Cut | None:
        """How the update that `take` would return treats the history."""
        with self._changed:
            return None if self._ready is None else self._ready.update.cut

    def take(self, settled: bool = True) -> QueuedUpdate | None:
        """Take the newest update that is ready. One with cut=recache stays until things are settled."""
        with self._changed:
            if self._ready is not None and self._ready.update.cut == "recache" and not settled:
                return None
            ready, self._ready, self._passed_over = self._ready, None, False
            return ready

    def pass_over(self, planned: QueuedUpdate) -> None:
        """A planned update goes first. A live one that waits for the second time is replaced by it.

        Otherwise a timeline with an update for every chunk would keep it waiting for ever.
        """
        with self._changed:
            waited, replaced = self._passed_over, self._ready
            self._passed_over = replaced is not None and not waited
            if replaced is None or not waited:
                return
            self._ready = None
        self._receipts.superseded(replaced.record, planned.record)

    def close(self, timeout_s: float) -> None:
        """End the thread. One that still encodes after timeout_s ends with the process."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _enter(self, update: PromptUpdate, head: int) -> QueuedUpdate:
        """Give an update its id and record."""
        target = parse_update(update)
        text = label(target.terms)
        record = UpdateRecord(f"u{next(self._ids)}", text, head, time.monotonic())
        read = (self._read_chars(term.text) for term in target.terms)
        record.read_chars = next((chars for chars in read if chars is not None), None)
        with self._changed:
            self.records.append(record)
            del self.records[:-KEPT_RECORDS]
        log.info("update %s is accepted", record.id, extra={"update": record.id, "chunk": head, "prompt": text})
        return QueuedUpdate(record, update, target)

    def _worker(self) -> None:
        """Encode live updates, and planned ones only while no live one waits."""
        while (work := self._next()) is not None:
            if isinstance(work, ConditioningTarget):
                self._prefetch(work)
            elif (ready := self._encode(work)) is not None:
                with self._changed:
                    replaced, self._ready, self._passed_over = self._ready, ready, False
                if replaced is not None:
                    self._receipts.superseded(replaced.record, ready.record)

    def _next(self) -> QueuedUpdate | ConditioningTarget | None:
        """Wait for something to encode. None when there will be nothing any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._pending or self._planned)
            if self._closed:
                return None
            pending, self._pending = self._pending, None
            return pending or self._planned.popleft()

    def _prefetch(self, target: ConditioningTarget) -> None:
        try:
            self._routing.prepare([term.text for term in target.terms])
        except Exception as error:  # noqa: BLE001 - whatever an encoder raises, the thread lives on for the next prompt
            log.warning("a prompt of the timeline could not be encoded yet: %s", named_line(error))

    def _encode(self, queued: QueuedUpdate, needed: bool = False) -> QueuedUpdate | None:
        record, start = queued.record, time.monotonic()
        try:
            self._routing.prepare([term.text for term in queued.target.terms])
        except Exception as error:  # whatever an encoder raises, the stream keeps what it shows
            log.error("update %s could not be encoded", record.id, extra={"update": record.id}, exc_info=error)
            self._receipts.failed(record, public_line(error))
            if needed:
                raise
            return None
        return replace(queued, text_ms=(time.monotonic() - start) * 1e3)
