"""The record of every chunk and every prompt update, and the log of all chunks, written as chunks.jsonl.

Owns the figures that need two neighbouring chunks (period, hidden time). Knows nothing of where the records come from.
"""

import itertools
import threading
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import msgspec

from pp1_orchestrator.telemetry.overlap_score import hidden_ratio, hidden_s

CHUNK_LIMIT = 100_000
"""Half a day at two chunks a second; some 60 MB."""


class ChunkRecord(msgspec.Struct):
    """Times of one chunk. `*_s` are monotonic seconds on rank 0's clock, `*_ms` are durations.

    build: planning and conditioning. text_ms: text encoding on rank 0, beside the stream. send: until the envelope was
    taken. recv_ms: moving the result once its header has come, without the wait for the mesh. emit_s: end of decode,
    before any pacing. anchor_ms: how long the next plan waited for this chunk's pixels.

    Measured by the mesh: denoise_ms (this chunk), context_ms (the context pass after the previous one), mesh_idle_ms,
    mesh_text_ms (how long text encoding held the mesh up).
    """

    chunk_index: int
    cache_epoch: int
    call_id: int
    build_start_s: float
    build_end_s: float
    text_ms: float = 0.0
    send_start_s: float = 0.0
    send_end_s: float = 0.0
    recv_start_s: float = 0.0
    recv_end_s: float = 0.0
    recv_ms: float = 0.0
    decode_start_s: float = 0.0
    emit_s: float = 0.0
    denoise_ms: float = 0.0
    context_ms: float = 0.0
    anchor_ms: float = 0.0
    mesh_idle_ms: float = 0.0
    mesh_text_ms: float = 0.0
    envelope_bytes: int = 0
    result_bytes: int = 0
    frames: int = 0
    update_ids: tuple[str, ...] = ()

    @property
    def stage0_s(self) -> float:
        return (self.build_end_s - self.build_start_s) + (self.emit_s - self.recv_end_s)

    @property
    def mesh_s(self) -> float:
        """Time the mesh was busy between two results."""
        return (self.denoise_ms + self.context_ms + self.mesh_text_ms) / 1e3

    def phases_s(self) -> dict[str, float]:
        """Seconds by phase; `text` only if a prompt was encoded."""
        phases = {
            "build": self.build_end_s - self.build_start_s,
            "send": self.send_end_s - self.send_start_s,
            "mesh": self.mesh_s,
            "recv": self.recv_ms / 1e3,
            "decode": self.emit_s - self.decode_start_s,
        }
        text_ms = self.text_ms + self.mesh_text_ms
        return {"text": text_ms / 1e3} | phases if text_ms > 0 else phases


class UpdateRecord(msgspec.Struct):
    """One prompt update. accepted_chunk: the newest chunk that rank 0 had received when it accepted the update.

    read_chars: a prompt is longer than the text encoder reads; it reads that many characters.
    """

    id: str
    prompt: str
    accepted_chunk: int
    accepted_s: float
    applied_chunk: int | None = None
    emitted_s: float | None = None
    superseded: bool = False
    read_chars: int | None = None

    @property
    def truncated(self) -> bool:
        return self.read_chars is not None

    @property
    def latency_chunks(self) -> int | None:
        return None if self.applied_chunk is None else self.applied_chunk - self.accepted_chunk

    @property
    def latency_ms(self) -> float | None:
        """Prompt to pixels: until the first chunk made with it was decoded."""
        return None if self.emitted_s is None else 1e3 * (self.emitted_s - self.accepted_s)


class ChunkLog:
    """The newest `limit` records, in the order of decoding. Thread-safe."""

    def __init__(self, limit: int = CHUNK_LIMIT) -> None:
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

    def write(self, path: Path) -> None:
        """Write chunks.jsonl: a line a chunk with the fields of its record and the figures that follow from them."""
        records = self.records()
        with path.open("wb") as out:
            for record, period_s in zip(records, periods_s(records), strict=True):
                line = msgspec.structs.asdict(record) | _derived(record, period_s)
                out.write(msgspec.json.encode(line) + b"\n")


def periods_s(records: Sequence[ChunkRecord]) -> list[float | None]:
    """Seconds from the end of each previous chunk's decode to the end of each chunk's.

    None for the first chunk, and after a gap in the chunk numbers, where results were dropped.
    """
    out: list[float | None] = [None] * min(1, len(records))
    for before, record in pairwise(records):
        follows = record.chunk_index == before.chunk_index + 1
        out.append(record.emit_s - before.emit_s if follows else None)
    return out


def _derived(record: ChunkRecord, period_s: float | None) -> dict[str, float | None]:
    """Milliseconds, and the ratio of the overlap score before it is cut to 1; None where a period is needed."""
    stage0_s, mesh_s = record.stage0_s, record.mesh_s
    return {
        "period_ms": None if period_s is None else 1e3 * period_s,
        "stage0_ms": 1e3 * stage0_s,
        "mesh_ms": 1e3 * mesh_s,
        "decode_ms": 1e3 * record.phases_s()["decode"],
        "hidden_ms": None if period_s is None else 1e3 * hidden_s(stage0_s, mesh_s, period_s),
        "hidden_ratio": None if period_s is None else hidden_ratio(stage0_s, mesh_s, period_s),
    }
