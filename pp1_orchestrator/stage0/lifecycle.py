"""The states of a stream and the transitions between them. Every change is logged and counted.

starting ──► ready ──► draining ──► stopped
   ▲ │         │           │
   │ ▼         ▼           ▼
   restarting ◄┘  any ──► failed
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from torch import Tensor

from pp1_orchestrator.stage0.chunk import InFlightChunk
from pp1_orchestrator.stage0.observers import BaseObserver
from pp1_orchestrator.telemetry.metrics import Metrics
from pp1_orchestrator.telemetry.metrics_catalogue import StreamState
from pp1_orchestrator.types import DecodedChunk

log = logging.getLogger(__name__)

_TRANSITIONS: Mapping[StreamState, frozenset[StreamState]] = {
    "starting": frozenset({"ready", "restarting", "draining", "failed", "stopped"}),
    "ready": frozenset({"restarting", "draining", "failed", "stopped"}),
    "restarting": frozenset({"starting", "draining", "failed", "stopped"}),
    "draining": frozenset({"failed", "stopped"}),
    "failed": frozenset(),
    "stopped": frozenset(),
}


class StreamLifecycle(BaseObserver):
    """An observer of chunks: the first one with pixels makes a starting stream ready. Thread-safe."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics, self._lock = metrics, threading.Lock()
        self._state: StreamState = "starting"
        metrics.stream_state("starting")

    @property
    def state(self) -> StreamState:
        return self._state

    def enter(self, state: StreamState) -> bool:
        """Change to a state. Returns False, and changes nothing, where no transition leads to it."""
        with self._lock:
            if state not in _TRANSITIONS[self._state]:
                return False
            before, self._state = self._state, state
            self._metrics.stream_state(state)
        log.info("the stream is %s, it was %s", state, before)
        return True

    def emitted(self, chunk: InFlightChunk, latents: Tensor, decoded: DecodedChunk) -> None:
        if self._state == "starting":
            self.enter("ready")
