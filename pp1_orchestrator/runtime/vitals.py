"""Once a second: which ranks are up and what memory they hold, as metrics, and as an event where it changed."""

from __future__ import annotations

import threading
from typing import Any

import psutil

from pp1_orchestrator.events import EventBus
from pp1_orchestrator.measure.metrics import Metrics
from pp1_orchestrator.runtime.compose import Stream

PERIOD_S = 1.0


class Vitals:
    """Watches a stream from a thread of its own until closed."""

    def __init__(self, stream: Stream, metrics: Metrics, events: EventBus) -> None:
        self._stream, self._metrics, self._events = stream, metrics, events
        self._states: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vitals", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._look()
            if self._stop.wait(PERIOD_S):
                return

    def _look(self) -> None:
        for rank, facts in self._stream.ranks().items():
            state = facts["state"]
            self._metrics.rank_up(int(rank), state == "up")
            if self._states.get(rank) != state:
                self._states[rank] = state
                self._events.publish("rank", rank=int(rank), state=state)
            self._resident(int(rank), facts)
        for rank, parts in self._stream.memory().items():
            for component, count in parts.items():
                self._metrics.vram(int(rank), component, count)

    def _resident(self, rank: int, facts: dict[str, Any]) -> None:
        try:
            self._metrics.vram(rank, "resident", psutil.Process(facts["pid"]).memory_info().rss)
        except psutil.NoSuchProcess:
            self._metrics.vram(rank, "resident", 0)
