"""What is wanted of the next chunk: planned and live prompt updates, cuts, seed, pause, and when to stop.

Requests come from any thread; the stage's thread takes them when it plans.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TypeVar

from pp1_orchestrator.stage0.prompt_queue import PromptQueue, ReadyUpdate
from pp1_orchestrator.stage0.timeline import Timeline
from pp1_orchestrator.types import TimelineEntry

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ChunkRequest:
    """Everything that changes at one chunk. cut: the reason of a hard cut before it."""

    update: ReadyUpdate | None = None
    seed: int | None = None
    cut: str | None = None


class PendingRequests:
    """chunks: how many to make in all; None goes on until it is stopped."""

    def __init__(self, book: PromptQueue, timeline: Timeline, chunks: int | None) -> None:
        self._book, self._timeline, self._chunks = book, timeline, chunks
        self._lock = threading.Lock()
        self._cut: str | None = None
        self._seed: int | None = None
        self.paused = False
        self.stopped = False

    def request_cut(self, reason: str, seed: int | None = None) -> None:
        """A hard cut before the next chunk. seed: one to begin with there."""
        with self._lock:
            self._cut = reason
            self._seed = self._seed if seed is None else seed

    def foresee(self, chunk: int) -> None:
        """Have the planned prompts from this chunk on encoded before their time has come."""
        self._book.foresee(entry for entry in self._timeline.from_chunk(chunk) if entry.has_prompt)

    def exhausted(self, chunk: int) -> bool:
        """True when no chunk will ever be wanted again."""
        return self.stopped or (self._chunks is not None and chunk >= self._chunks)

    def wants_chunk(self, chunk: int) -> bool:
        return not self.paused and not self.exhausted(chunk)

    def must_wait(self, chunk: int) -> bool:
        """A planned hard cut waits for the chunk before it: a script gives the same pixels with every overlap.

        So does an update under which the history is read again: all of the history must be here.
        """
        entry = self._timeline.at(chunk)
        if entry is None or not entry.has_prompt:
            return self._book.next_cut() == "recache" or (entry is not None and entry.cut == "hard")
        return entry.cut != "soft"

    def drops(self, chunk: int) -> bool:
        return self._timeline.drops(chunk)

    def take(self, chunk: int, head: int, settled: bool) -> ChunkRequest:
        """What was asked for until now, once. A planned update goes first; a live one then waits for the next chunk.

        settled: the whole history is here; an update under which it is read again waits for that.
        """
        entry = self._timeline.take(chunk)
        if entry is not None and entry.has_prompt:
            update = self._book.prepare(entry, head, needed=chunk == 0)
            self.foresee(chunk + 1)
        else:
            update = self._book.take(settled)
        with self._lock:
            (seed, self._seed), (cut, self._cut) = (self._seed, None), (self._cut, None)
        return ChunkRequest(update, _first(entry and entry.seed, seed), _first(_cut_reason(entry, update), cut))


def _cut_reason(entry: TimelineEntry | None, update: ReadyUpdate | None) -> str | None:
    if update is not None and update.update.cut == "hard":
        return f"update {update.record.id}"
    return "planned" if entry is not None and entry.cut == "hard" else None


def _first(*values: T | None) -> T | None:
    return next((value for value in values if value is not None), None)
