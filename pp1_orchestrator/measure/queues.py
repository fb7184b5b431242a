"""How full the bounded queues get: the newest depth as a metric, the greatest in the run's summary."""

from __future__ import annotations

import threading
from typing import Protocol


class DepthGauge(Protocol):
    """Where depths are shown (`measure.metrics.Metrics`)."""

    def queue_depth(self, queue: str, depth: int) -> None: ...


class QueueDepths:
    """Depths of named queues, told by those who fill them. Thread-safe."""

    def __init__(self, gauge: DepthGauge) -> None:
        self._gauge = gauge
        self._lock = threading.Lock()
        self._greatest: dict[str, int] = {}

    def note(self, queue: str, depth: int) -> None:
        """Entries in the queue, read after one came or went."""
        with self._lock:
            self._greatest[queue] = max(self._greatest.get(queue, 0), depth)
        self._gauge.queue_depth(queue, depth)

    def greatest(self) -> dict[str, int]:
        with self._lock:
            return dict(self._greatest)
