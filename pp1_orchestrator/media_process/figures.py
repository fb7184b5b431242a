"""Counts what the media process does until rank 0 hears of it. Thread-safe."""

import contextlib
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator

from pp1_orchestrator.media_process.control_messages import Figures
from pp1_orchestrator.types import Codec, DropReason, Limited

REPORTS_LIMIT = 256
"""Round-trip times in one message to rank 0: more than viewers report in that time."""


class FigureCounter:
    """A ViewerMetrics whose numbers travel. on_change: called when viewers have come or gone."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._lock = threading.Lock()
        self._viewers = self._packets_queued = 0
        self._cpu_s = 0.0
        self._encode_s: defaultdict[Codec, float] = defaultdict(float)
        self._encoded_bytes: Counter[Codec] = Counter()
        self._dropped: Counter[DropReason] = Counter()
        self._limited: Counter[Limited] = Counter()
        self._rtts_s: list[float] = []
        self._sent = self._lost = 0
        self._frames, self._busy, self._watched = 0, False, False

    def viewers(self, count: int) -> None:
        self._viewers = count
        self._on_change()

    def watched(self, watched: bool) -> None:
        """Whether anybody needs frames."""
        self._watched = watched
        self._on_change()

    def viewer_quality(self, rtt_s: float | None, sent: int, lost: int) -> None:
        with self._lock:
            if rtt_s is not None and len(self._rtts_s) < REPORTS_LIMIT:
                self._rtts_s.append(rtt_s)
            self._sent += sent
            self._lost += lost

    def limited(self, limit: Limited) -> None:
        with self._lock:
            self._limited[limit] += 1

    def frames_dropped(self, reason: DropReason, count: int = 1) -> None:
        with self._lock:
            self._dropped[reason] += count

    def queue_depth(self, queue: str, depth: int) -> None:
        self._packets_queued = depth

    def encoded(self, codec: Codec, seconds: float, size: int) -> None:
        with self._lock:
            self._encode_s[codec] += seconds
            self._encoded_bytes[codec] += size

    @contextlib.contextmanager
    def frame(self) -> Generator[None]:
        """Inside, a frame is being worked on."""
        self._busy = True
        try:
            yield
        finally:
            self._busy = False
            with self._lock:
                self._frames += 1

    def take(self) -> Figures:
        """What is now, and what has been counted since the last call."""
        used_s = time.process_time()
        with self._lock:
            figures = Figures(
                viewers=self._viewers,
                watched=self._watched,
                rtts_s=tuple(self._rtts_s),
                packets_sent=self._sent,
                packets_lost=self._lost,
                packets_queued=self._packets_queued,
                busy=self._busy,
                frames=self._frames,
                dropped=dict(self._dropped),
                limited=dict(self._limited),
                encode_s=dict(self._encode_s),
                encoded_bytes=dict(self._encoded_bytes),
                cpu_s=used_s - self._cpu_s,
            )
            self._rtts_s.clear()
            self._sent = self._lost = 0
            self._dropped.clear()
            self._limited.clear()
            self._encode_s.clear()
            self._encoded_bytes.clear()
            self._frames, self._cpu_s = 0, used_s
        return figures
