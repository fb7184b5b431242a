"""What is planned for certain chunks: a script's entries, or those that were put in while the stream runs.

Any thread may replace it; the stage's thread asks chunk by chunk.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from pp1_orchestrator.ports import TimelineEntry

PAST_CHUNKS = 1000
"""How long a replaced timeline's entries stay: chunks that are under way may still be asked for."""


class Timeline:
    """Entries by chunk."""

    def __init__(self, entries: Iterable[TimelineEntry]) -> None:
        self._lock = threading.Lock()
        self._use({entry.chunk: entry for entry in entries})

    def at(self, chunk: int) -> TimelineEntry | None:
        with self._lock:
            return self._entries.get(chunk)

    def drops(self, chunk: int) -> bool:
        """True when a replayed run threw this chunk away."""
        with self._lock:
            return any(chunk in dropped for dropped in self._drops)

    def replace(self, entries: Iterable[TimelineEntry], first_chunk: int) -> None:
        """From first_chunk on nothing else is planned any more than these entries."""
        with self._lock:
            past = range(first_chunk - PAST_CHUNKS, first_chunk)
            kept = {chunk: entry for chunk, entry in self._entries.items() if chunk in past}
            self._use(kept | {entry.chunk: entry for entry in entries})

    def from_chunk(self, chunk: int) -> list[TimelineEntry]:
        """The entries of this chunk and later ones, in order."""
        with self._lock:
            return [self._entries[at] for at in sorted(self._entries) if at >= chunk]

    def _use(self, entries: dict[int, TimelineEntry]) -> None:
        self._entries = entries
        self._drops = [range(entry.chunk - entry.dropped, entry.chunk) for entry in entries.values() if entry.dropped]
