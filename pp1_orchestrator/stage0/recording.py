"""What a run did, chunk by chunk, as a timeline: the same entries and chunk count give the same latents again."""

from __future__ import annotations

import threading
from collections import deque

import msgspec

from pp1_orchestrator.ports import PromptUpdate, TimelineEntry
from pp1_orchestrator.stage0.flight import FAILED, RESTART, Flight
from pp1_orchestrator.stage0.observers import Onlooker

KEPT_ENTRIES = 10_000


class Recording(Onlooker):
    """An observer of the stage. Bounded: of a very long run the oldest entries go, and `complete` says so."""

    def __init__(self) -> None:
        self._entries: deque[TimelineEntry] = deque(maxlen=KEPT_ENTRIES)
        self._lock = threading.Lock()
        self._seed: int | None = None
        self._epoch = 0
        self._count = 0
        self._thrown = 0
        self._newest = PromptUpdate()
        self._restarted = False
        self.chunks = 0
        """Chunks planned so far."""

    @property
    def complete(self) -> bool:
        return self._count <= KEPT_ENTRIES

    def entries(self) -> list[TimelineEntry]:
        with self._lock:
            return list(self._entries)

    def planned(self, flight: Flight) -> None:
        plan, epoch = flight.plan, flight.record.cache_epoch
        self.chunks = plan.chunk_index + 1
        update = self._shown_from(flight)
        seed = plan.base_seed if plan.base_seed != self._seed else None
        cut = "hard" if epoch != self._epoch else "recache" if update.cut == "recache" else "soft"
        self._seed, self._epoch = plan.base_seed, epoch
        if not update.has_prompt and seed is None and cut == "soft":
            return
        fields = {name: getattr(update, name) for name in PromptUpdate.__struct_fields__ if name != "cut"}
        with self._lock:
            dropped, self._thrown = (self._thrown, 0) if cut == "hard" else (0, self._thrown)
            entry = TimelineEntry(chunk=plan.chunk_index, seed=seed, cut=cut, dropped=dropped, **fields)
            self._entries.append(entry)
            self._count += 1

    def dropped(self, flight: Flight) -> None:
        """A hard cut threw it away: that belongs to the newest hard cut after it, which may be still to come."""
        with self._lock:
            for index in range(len(self._entries) - 1, -1, -1):
                entry = self._entries[index]
                if entry.cut == "hard" and entry.chunk > flight.plan.chunk_index:
                    self._entries[index] = msgspec.structs.replace(entry, dropped=entry.dropped + 1)
                    return
            self._thrown += 1

    def epoch_changed(self, epoch: int, reason: str) -> None:
        """The next plan tells; why, only this."""
        self._restarted = reason in (RESTART, FAILED)

    def _shown_from(self, flight: Flight) -> PromptUpdate:
        """The update that a chunk is the first to show. With a new mesh that is the newest one, at its target."""
        restarted, self._restarted = self._restarted, False
        self._newest = flight.requested or self._newest
        if restarted:
            self._newest = msgspec.structs.replace(self._newest, transition=None)
            return self._newest
        return flight.requested or PromptUpdate()
