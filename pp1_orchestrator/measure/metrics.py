"""Every Prometheus metric of the project: name, unit, labels and buckets in one place.

Each run has its own registry, so that several runs in one process do not collide. Knows nothing of HTTP: whoever serves
/metrics takes `Metrics.registry`.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from .chunks import periods_s
from .overlap_score import WARMUP_CHUNKS, overlap_score
from .records import ChunkRecord

_SECONDS = (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0)
_CHUNKS = (0, 1, 2, 3, 4, 6, 8, 12, 16)
_SCORE_WINDOW = 60
"""Chunks that `pp1_overlap_score` looks back on."""

DropReason = Literal["old_epoch", "late", "slow_viewer", "cut"]
"""old_epoch: a result of before a hard cut; late: the pacer had no time left for it; slow_viewer: a viewer's queue was
full; cut: decoded, but a hard cut came before it was shown."""
DROP_REASONS: tuple[DropReason, ...] = ("old_epoch", "late", "slow_viewer", "cut")


class Metrics:
    """The metrics of one run. Every method is thread-safe and cheap; ranks are labelled by their global number."""

    def __init__(self, warmup_chunks: int = WARMUP_CHUNKS) -> None:
        self.registry = CollectorRegistry()
        self._lock = threading.Lock()
        self._warmup_left = warmup_chunks
        self._last: ChunkRecord | None = None
        self._recent: deque[tuple[float, float, float]] = deque(maxlen=_SCORE_WINDOW)
        self._define_times()
        self._define_stream()

    def observe_chunk(self, record: ChunkRecord) -> None:
        """Count one decoded chunk: its frames, phases, period, epoch, and the overlap score of the recent ones."""
        on_leader = {"mesh"} | ({"text"} if record.mesh_text_ms > 0 else set())
        for phase, seconds in record.phases_s().items():
            self._phase.labels(phase, "1" if phase in on_leader else "0").observe(seconds)
        self._frames.inc(record.frames)
        self._epoch.set(record.cache_epoch)
        with self._lock:
            period_s = periods_s([self._last, record])[1] if self._last else None
            self._last = record
            if period_s is not None:
                self._period.observe(period_s)
            self._update_score(record, period_s)

    def prompt_to_pixels(self, seconds: float, chunks: int) -> None:
        """One prompt update reached its first decoded frame."""
        self._to_pixels_s.observe(seconds)
        self._to_pixels_chunks.observe(chunks)

    def set_epoch(self, epoch: int) -> None:
        self._epoch.set(epoch)

    def frames_dropped(self, reason: DropReason, count: int = 1) -> None:
        self._dropped.labels(reason).inc(count)

    def queue_depth(self, queue: str, depth: int) -> None:
        self._queue.labels(queue).set(depth)

    def viewers(self, count: int) -> None:
        self._viewers.set(count)

    def rank_up(self, rank: int, up: bool) -> None:
        self._rank_up.labels(str(rank)).set(up)

    def mesh_restarts(self) -> None:
        """Count one restart of the mesh."""
        self._restarts.inc()

    def vram(self, rank: int, component: str, count: int) -> None:
        """Memory that a rank's component holds, in bytes, on whatever device the rank runs on."""
        self._vram.labels(str(rank), component).set(count)

    def _define_times(self) -> None:
        registry = self.registry
        self._phase = Histogram(
            "pp1_phase_seconds",
            "Time of one phase of one chunk.",
            ("phase", "rank"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._period = Histogram(
            "pp1_chunk_period_seconds", "Time from one decoded chunk to the next.", buckets=_SECONDS, registry=registry
        )
        self._to_pixels_s = Histogram(
            "pp1_prompt_to_pixels_seconds",
            "Time from an accepted prompt update to its first decoded frame.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._to_pixels_chunks = Histogram(
            "pp1_prompt_to_pixels_chunks",
            "Chunks from an accepted prompt update to the first one made with it.",
            buckets=_CHUNKS,
            registry=registry,
        )
        self._score = Gauge(
            "pp1_overlap_score", f"Median overlap score of the last {_SCORE_WINDOW} chunks.", registry=registry
        )

    def _define_stream(self) -> None:
        registry = self.registry
        self._frames = Counter("pp1_frames", "Pixel frames decoded.", registry=registry)
        self._dropped = Counter("pp1_frames_dropped", "Frames that no viewer saw.", ("reason",), registry=registry)
        for reason in DROP_REASONS:
            self._dropped.labels(reason)
        self._queue = Gauge("pp1_queue_depth", "Entries waiting in a bounded queue.", ("queue",), registry=registry)
        self._epoch = Gauge("pp1_cache_epoch", "Number of KV cache resets so far.", registry=registry)
        self._viewers = Gauge("pp1_viewers", "Connected WebRTC viewers.", registry=registry)
        self._rank_up = Gauge("pp1_rank_up", "1 while the rank is alive, else 0.", ("rank",), registry=registry)
        self._restarts = Counter("pp1_mesh_restarts", "Restarts of the mesh.", registry=registry)
        self._vram = Gauge("pp1_vram_bytes", "Memory by rank and component.", ("rank", "component"), registry=registry)

    def _update_score(self, record: ChunkRecord, period_s: float | None) -> None:
        if self._warmup_left > 0:
            self._warmup_left -= 1
        elif period_s is not None:
            self._recent.append((record.stage0_s, record.mesh_s, period_s))
            score = overlap_score(*zip(*self._recent, strict=True), warmup=0)
            self._score.set(score if score is not None else 0.0)
