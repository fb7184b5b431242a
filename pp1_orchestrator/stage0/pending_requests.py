"""What the next chunk must take along: planned and live prompt updates, cuts, seed, strength, pause, and when to stop.

Requests come from any thread; the session's thread takes them when it plans.
"""

import threading
from dataclasses import dataclass

from pp1_orchestrator.stage0.prompt_queue import PromptQueue, QueuedUpdate
from pp1_orchestrator.stage0.timeline import Timeline


@dataclass(frozen=True, slots=True)
class ChunkRequest:
    """Everything that changes at one chunk."""

    update: QueuedUpdate | None = None
    seed: int | None = None
    cut: str | None = None
    """Reason of a hard cut before the chunk."""
    strength: float | None = None


class PendingRequests:
    """Joins the timeline with live requests. chunks: how many to make in all; None means until stopped."""

    def __init__(self, prompts: PromptQueue, timeline: Timeline, chunks: int | None) -> None:
        self.prompts, self.timeline, self._chunks = prompts, timeline, chunks
        self._lock = threading.Lock()
        self._cut: str | None = None
        self._seed: int | None = None
        self._strength: float | None = None
        self.paused = False
        self.stopped = False

    def request_cut(self, reason: str, seed: int | None = None) -> None:
        """Ask for a hard cut before the next chunk, and for a new seed from there on if one is given."""
        with self._lock:
            self._cut = reason
            self._seed = self._seed if seed is None else seed

    def request_strength(self, strength: float) -> None:
        """Ask for another strength of the input from the next chunk on."""
        with self._lock:
            self._strength = strength

    def prefetch(self, chunk: int) -> None:
        """Have the planned prompts from this chunk on encoded early."""
        self.prompts.prefetch(entry for entry in self.timeline.from_chunk(chunk) if entry.has_prompt)

    def exhausted(self, chunk: int) -> bool:
        """True when no chunk will ever be wanted again."""
        return self.stopped or (self._chunks is not None and chunk >= self._chunks)

    def wants_chunk(self, chunk: int) -> bool:
        return not self.paused and not self.exhausted(chunk)

    def must_wait(self, chunk: int) -> bool:
        """True when the chunk must not be planned while another one is unfinished.

        A planned hard cut must wait, so that a script gives the same pixels with every overlap. So must an update that
        recomputes the history, which needs all of it.
        """
        entry = self.timeline.at(chunk)
        if entry is None or not entry.has_prompt:
            return self.prompts.next_cut() == "recache" or (entry is not None and entry.cut == "hard")
        return entry.cut != "soft"

    def take(self, chunk: int, head: int, settled: bool) -> ChunkRequest:
        """Take all pending requests for a chunk. A planned update goes first; a live one then waits for the next chunk.

        head: newest chunk whose result has reached rank 0. settled: no chunk is with the mesh: all history is here.
        """
        entry = self.timeline.take(chunk)
        if entry is not None and entry.has_prompt:
            update = self.prompts.prepare(entry, head, needed=chunk == 0)
            if update is not None:
                self.prompts.pass_over(update)
            self.prefetch(chunk + 1)
        else:
            update = self.prompts.take(settled)
        with self._lock:
            (seed, self._seed), (cut, self._cut) = (self._seed, None), (self._cut, None)
            strength, self._strength = self._strength, None
        if entry is not None:
            seed = seed if entry.seed is None else entry.seed
            strength = strength if entry.strength is None else entry.strength
            cut = "planned" if entry.cut == "hard" else cut
        if update is not None and update.update.cut == "hard":
            cut = f"update {update.record.id}"
        return ChunkRequest(update, seed, cut, strength)
