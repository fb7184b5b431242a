"""Once a second: the health of the stream and of its ranks, and what they use, as metrics; changed ranks as events."""

from collections.abc import Callable, Mapping
from typing import Any

import psutil

from pp1_orchestrator.event_bus import EventBus
from pp1_orchestrator.polling_thread import PollingThread
from pp1_orchestrator.stage0.session import Session
from pp1_orchestrator.telemetry.metrics import Metrics

PERIOD_S = 1.0


class ResourceMonitor(PollingThread):
    """Samples until closed.

    Args:
        ranks: returns pid, device and state by rank.
        memory: returns bytes by rank and component.
    """

    def __init__(
        self,
        session: Session,
        ranks: Callable[[], Mapping[str, Any]],
        memory: Callable[[], Mapping[str, Mapping[str, int]]],
        metrics: Metrics,
        events: EventBus,
    ) -> None:
        self._session, self._ranks, self._memory = session, ranks, memory
        self._metrics, self._events = metrics, events
        self._states: dict[str, str] = {}
        self._cpu_s: dict[tuple[int, int], float] = {}
        self._sample()
        super().__init__("resource-monitor", PERIOD_S)

    def _poll(self, now_s: float, suspended_s: float) -> bool:
        self._sample()
        return True

    def _sample(self) -> None:
        self._metrics.health(self._session.ready(), self._session.paused)
        for rank, facts in self._ranks().items():
            state = facts["state"]
            self._metrics.rank_up(int(rank), state == "up")
            if self._states.get(rank) != state:
                self._states[rank] = state
                self._events.publish("rank", rank=int(rank), state=state)
            self._sample_process(int(rank), facts["pid"])
        for rank, parts in self._memory().items():
            for component, count in parts.items():
                self._metrics.vram(int(rank), component, count)

    def _sample_process(self, rank: int, pid: int) -> None:
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
