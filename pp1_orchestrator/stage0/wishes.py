"""What is wanted of the next chunk: scripted and live prompt updates, cuts, seed, pause, and when to stop.

Requests come from any thread; the stage's thread takes them when it plans.
"""

from __future__ import annotations

import threading

from pp1_orchestrator.ports import PromptUpdate
from pp1_orchestrator.stage0.prompts import PromptBook, ReadyUpdate
from pp1_orchestrator.stage0.script import Script


class StreamWishes:
    """chunks: how many to make in all; None goes on until it is stopped."""

    def __init__(self, book: PromptBook, script: Script, first: PromptUpdate, chunks: int | None) -> None:
        self._book = book
        self._script = {0: first, **script}
        self._chunks = chunks
        self._lock = threading.Lock()
        self._cut: str | None = None
        self._seed: int | None = None
        self.paused = False
        self.stopped = False

    def request_cut(self, reason: str) -> None:
        with self._lock:
            self._cut = reason

    def request_seed(self, seed: int) -> None:
        with self._lock:
            self._seed = seed

    def exhausted(self, chunk: int) -> bool:
        """True when no chunk will ever be wanted again."""
        return self.stopped or (self._chunks is not None and chunk >= self._chunks)

    def wants_chunk(self, chunk: int) -> bool:
        return not self.paused and not self.exhausted(chunk)

    def must_wait(self, chunk: int) -> bool:
        """A scripted hard cut waits for the chunk before it: a script gives the same pixels with every overlap."""
        update = self._script.get(chunk)
        return update is not None and update.cut == "hard"

    def take_update(self, chunk: int, head: int) -> ReadyUpdate | None:
        scripted = self._script.get(chunk)
        return self._book.take() if scripted is None else self._book.prepare(scripted, head)

    def take_cut(self, chunk: int) -> str | None:
        with self._lock:
            reason, self._cut = self._cut, None
            return reason

    def take_seed(self) -> int | None:
        with self._lock:
            seed, self._seed = self._seed, None
            return seed
