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

    ranks: returns pid, state and memory by rank.
    """

    def __init__(
        self, session: Session, ranks: Callable[[], Mapping[str, Any]], metrics: Metrics, events: EventBus
    ) -> None:
        self._session, self._ranks, self._metrics, self._events = session, ranks, metrics, events
        self._states: dict[int, str] = {}
        self._cpu_s: dict[tuple[int, int], float] = {}
        self._sample()
        super().__init__("resource-monitor", PERIOD_S)

    def _poll(self, now_s: float, suspended_s: float) -> bool:
        self._sample()
        return True

    def _sample(self) -> None:
        self._metrics.health(self._session.ready(), self._session.paused)
        for number, facts in self._ranks().items():
            rank, state = int(number), facts["state"]
            self._metrics.rank_up(rank, state == "up")
            if self._states.get(rank) != state:
                self._states[rank] = state
                self._events.publish("rank", rank=rank, state=state)
            for component, count in facts["memory"].items():
                self._metrics.vram(rank, component, count)
            self._count_cpu(rank, facts["pid"])

    def _count_cpu(self, rank: int, pid: int) -> None:
        try:
            times = psutil.Process(pid).cpu_times()
        except psutil.NoSuchProcess:
            return
        used_s = times.user + times.system
        self._metrics.cpu(rank, max(0.0, used_s - self._cpu_s.get((rank, pid), 0.0)))
        self._cpu_s[rank, pid] = used_s
