"""The log of all chunks of a run: bounded in memory, written as chunks.jsonl, one line a chunk.

Owns the figures that need two neighbouring chunks (period, hidden time). Knows nothing of where the records come from.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from .overlap_score import hidden_s
from .records import ChunkRecord

DEFAULT_LIMIT = 100_000
"""Chunks kept: about half a day at two chunks a second, some 60 MB."""


class ChunkLog:
    """Collects records in the order of decoding; past `limit` the oldest go and are counted. Thread-safe."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        if limit < 1:
            raise ValueError(f"limit={limit}: a chunk log keeps at least 1 chunk")
        self._records: deque[ChunkRecord] = deque(maxlen=limit)
        self._lock = threading.Lock()
        self._added = 0

    def add(self, record: ChunkRecord) -> None:
        with self._lock:
            self._records.append(record)
            self._added += 1

    def records(self) -> list[ChunkRecord]:
        """A copy of what is kept, oldest first."""
        with self._lock:
            return list(self._records)

    def newest(self, count: int) -> list[ChunkRecord]:
        """The last `count` records, oldest first."""
        with self._lock:
            return list(itertools.islice(self._records, max(0, len(self._records) - count), None))

    @property
    def count(self) -> int:
        """Chunks ever added."""
        with self._lock:
            return self._added

    @property
    def dropped(self) -> int:
        """Chunks that are no longer kept."""
        with self._lock:
            return self._added - len(self._records)

    def write(self, path: Path) -> None:
        """Write chunks.jsonl: each record's own fields and `derived`'s."""
        records = self.records()
        periods = periods_s(records)
        with path.open("wb") as out:
            for record, period in zip(records, periods, strict=True):
                out.write(msgspec.json.encode(msgspec.to_builtins(record) | derived(record, period)) + b"\n")


def periods_s(records: Sequence[ChunkRecord]) -> list[float | None]:
    """Seconds from the chunk before to each chunk, decode-done to decode-done.

    None for the first, and after a gap in the chunk numbers (a hard cut dropped results): such a time is no period.
    """
    out: list[float | None] = [None] * min(1, len(records))
    for before, record in pairwise(records):
        follows = record.chunk_index == before.chunk_index + 1
        out.append(record.emit_s - before.emit_s if follows else None)
    return out


def derived(record: ChunkRecord, period_s: float | None) -> dict[str, Any]:
    """The milliseconds that follow from a record's times; period_ms and hidden_ms are None without a period."""
    hidden = None if period_s is None else 1e3 * hidden_s(record.stage0_s, record.mesh_s, period_s)
    return {
        "period_ms": None if period_s is None else 1e3 * period_s,
        "stage0_ms": 1e3 * record.stage0_s,
        "mesh_ms": 1e3 * record.mesh_s,
        "decode_ms": 1e3 * record.phases_s()["decode"],
        "hidden_ms": hidden,
    }
