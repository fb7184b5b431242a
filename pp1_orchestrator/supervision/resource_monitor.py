"""Once a second: the health of the stream and of its ranks and what they use, as metrics; changed ranks as events."""

from __future__ import annotations

import psutil

from pp1_orchestrator.app.stream import Stream
from pp1_orchestrator.events import EventBus
from pp1_orchestrator.polling import PollingThread
from pp1_orchestrator.telemetry.metrics import Metrics

PERIOD_S = 1.0


class ResourceMonitor(PollingThread):
    """Watches a stream from a thread of its own until closed."""

    def __init__(self, stream: Stream, metrics: Metrics, events: EventBus) -> None:
        self._stream, self._metrics, self._events = stream, metrics, events
        self._states: dict[str, str] = {}
        self._cpu_s: dict[tuple[int, int], float] = {}
        self._look()
        super().__init__("vitals", PERIOD_S)

    def _poll(self, now_s: float, suspended_s: float) -> bool:
        self._look()
        return True

    def _look(self) -> None:
        session = self._stream.session
        self._metrics.health(session.ready(), session.paused)
        for rank, facts in self._stream.ranks().items():
            state = facts["state"]
            self._metrics.rank_up(int(rank), state == "up")
            if self._states.get(rank) != state:
                self._states[rank] = state
                self._events.publish("rank", rank=int(rank), state=state)
            self._use(int(rank), facts["pid"])
        for rank, parts in self._stream.memory().items():
            for component, count in parts.items():
                self._metrics.vram(int(rank), component, count)

    def _use(self, rank: int, pid: int) -> None:
        """What the rank's process uses; a process that took its place starts counting anew."""
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                resident, times = process.memory_info().rss, process.cpu_times()
        except psutil.NoSuchProcess:
            self._metrics.vram(rank, "resident", 0)
            return
        used_s = times.user + times.system
        self._metrics.vram(rank, "resident", resident)
        self._metrics.cpu(rank, max(0.0, used_s - self._cpu_s.get((rank, pid), 0.0)))
        self._cpu_s[rank, pid] = used_s
