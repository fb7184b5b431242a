"""The states of a stream and the transitions between them. Every change is logged and counted.

starting ──► ready ──► draining ──► stopped
   ▲ │         │           │
   │ ▼         ▼           ▼
   restarting ◄┘  any ──► failed
"""

import logging
import threading
from collections.abc import Mapping

from torch import Tensor

from pp1_orchestrator.stage0.in_flight_chunk import InFlightChunk
from pp1_orchestrator.stage0.observers import BaseObserver
from pp1_orchestrator.telemetry.metrics import Metrics
from pp1_orchestrator.types import DecodedChunk, StreamState

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
    """The first chunk with pixels makes a starting stream ready. Thread-safe."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics, self._lock = metrics, threading.Lock()
        self.state: StreamState = "starting"
        metrics.stream_state("starting")

    def enter(self, state: StreamState) -> bool:
        """Change to a state. Returns False, and changes nothing, where no transition leads to it."""
        with self._lock:
            if state not in _TRANSITIONS[self.state]:
                return False
            before, self.state = self.state, state
            self._metrics.stream_state(state)
        log.info("the stream is %s, it was %s", state, before)
        return True

    def emitted(self, chunk: InFlightChunk, latents: Tensor, decoded: DecodedChunk) -> None:
        if self.state == "starting":
            self.enter("ready")
