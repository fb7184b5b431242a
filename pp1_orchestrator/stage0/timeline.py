"""What is planned for certain chunks: a script's entries, or those that were put in while the stream runs.

Any thread may replace it; the stage's thread asks chunk by chunk.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import msgspec

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.ports import TimelineEntry

PAST_CHUNKS = 1000
"""How long a replaced timeline's entries stay: chunks that are under way may still be asked for."""


class Timeline:
    """Entries by chunk."""

    def __init__(self, entries: Iterable[TimelineEntry]) -> None:
        self._lock = threading.Lock()
        self._taken = -1
        self._use({entry.chunk: entry for entry in entries})

    def at(self, chunk: int) -> TimelineEntry | None:
        with self._lock:
            return self._entries.get(chunk)

    def take(self, chunk: int) -> TimelineEntry | None:
        """The entry of a chunk that is being planned. It can't be replaced any more."""
        with self._lock:
            self._taken = max(self._taken, chunk)
            return self._entries.get(chunk)

    def drops(self, chunk: int) -> bool:
        """True when a replayed run threw this chunk away."""
        with self._lock:
            return any(chunk in dropped for dropped in self._drops)

    def replace(self, entries: Sequence[TimelineEntry], relative: bool) -> int:
        """Plan these entries and nothing else from the soonest chunk on that can still be planned, which is returned.

        relative: the entries count from that chunk. Otherwise raises RequestError for one that comes too late.
        """
        with self._lock:
            soonest = self._taken + 2  # the next one may be about to be taken
            if relative:
                entries = [msgspec.structs.replace(entry, chunk=entry.chunk + soonest) for entry in entries]
            elif entries and (first := min(entry.chunk for entry in entries)) < soonest:
                raise RequestError(f"chunk {first} is past; the next that can be planned is {soonest}")
            past = range(soonest - PAST_CHUNKS, soonest)
            kept = {chunk: entry for chunk, entry in self._entries.items() if chunk in past}
            self._use(kept | {entry.chunk: entry for entry in entries})
            return soonest

    def from_chunk(self, chunk: int) -> list[TimelineEntry]:
        """The entries of this chunk and later ones, in order."""
        with self._lock:
            return [self._entries[at] for at in sorted(self._entries) if at >= chunk]

    def _use(self, entries: dict[int, TimelineEntry]) -> None:
        self._entries = entries
        self._drops = [range(entry.chunk - entry.dropped, entry.chunk) for entry in entries.values() if entry.dropped]
