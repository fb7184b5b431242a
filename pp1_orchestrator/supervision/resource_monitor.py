"""Once a second: the health of the stream and of its ranks, and what they use, as metrics; changed ranks as events."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import psutil

from pp1_orchestrator.event_bus import EventBus
from pp1_orchestrator.polling_thread import PollingThread
from pp1_orchestrator.stage0.session import Session
from pp1_orchestrator.telemetry.metrics import Metrics

PERIOD_S = 1.0


class ResourceMonitor(PollingThread):
    """Samples until closed.

    ranks: returns pid, device, state and memory by rank. on_host: components in the host's memory on every rank.
    """

    def __init__(
        self,
        session: Session,
        ranks: Callable[[], Mapping[str, Any]],
        metrics: Metrics,
        events: EventBus,
        on_host: Collection[str] = (),
    ) -> None:
        self._session, self._ranks, self._metrics, self._events = session, ranks, metrics, events
        self._on_host = {"resident", *on_host}
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
                on_gpu = not facts["device"].startswith("cpu") and component not in self._on_host
                self._metrics.memory(rank, component, count, on_gpu)
            self._count_cpu(rank, facts["pid"])

    def _count_cpu(self, rank: int, pid: int) -> None:
        try:
            times = psutil.Process(pid).cpu_times()
        except psutil.NoSuchProcess:
            return
        used_s = times.user + times.system
        self._metrics.cpu(rank, max(0.0, used_s - self._cpu_s.get((rank, pid), 0.0)))
        self._cpu_s[rank, pid] = used_s
