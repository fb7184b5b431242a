"""How often something may be started anew before it counts as broken for good. Knows nothing of what that is.

Looks after the mesh of a run: starts it, watches it, and when it fails starts a whole new one.

Fail whole, restart whole: a mesh has a store, a port and process groups of its own, so nothing of a failed one is met
again. Rank 0's models, prompt, seed and viewers are not touched. What is still wrong after `supervision.restarts` tries
is not mended by another one: then the run fails.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pp1_orchestrator.app.strategy_registry import LAYOUTS
from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.contract import wire
from pp1_orchestrator.errors import MeshError, PeerError, first_line, let_frames_go
from pp1_orchestrator.events import EventBus
from pp1_orchestrator.layouts.base import Mesh
from pp1_orchestrator.loading.checkpoint import Components
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.supervision.mesh_watchdog import LOOK_S, MeshFailure, MeshWatchdog, diagnose_hang
from pp1_orchestrator.telemetry.metrics import Metrics
from pp1_orchestrator.testing.faults import without_fault
from pp1_orchestrator.transport.link import MeshLink
from pp1_orchestrator.transport.process_groups import LEADER
from pp1_orchestrator.transport.response_timer import ResponseTimer


class RestartBudget:
    """restarts: how many within any window_s. pauses_s: before the first, second … of them; the last one repeats."""

    def __init__(self, restarts: int, window_s: float, pauses_s: Sequence[float]) -> None:
        self._restarts, self._window_s, self._pauses_s = restarts, window_s, pauses_s
        self._spent: deque[float] = deque()

    def spend(self, now_s: float) -> float | None:
        """The pause before one more restart; None when none is left."""
        while self._spent and now_s - self._spent[0] >= self._window_s:
            self._spent.popleft()
        count = len(self._spent)
        if count >= self._restarts:
            return None
        self._spent.append(now_s)
        return self._pauses_s[min(count, len(self._pauses_s) - 1)]

    def __str__(self) -> str:
        return f"{self._restarts} within {self._window_s:g} s are allowed"


log = logging.getLogger(__name__)
POLL_S = 0.05


class Supervisor:
    """`stop` may be called from any thread, the rest from one at a time."""

    def __init__(
        self, settings: Settings, config: WanConfig, metrics: Metrics, events: EventBus, folder: Path | None
    ) -> None:
        rules, deadlines = settings.supervision, settings.deadlines
        # Encoding text takes a mesh as long as it takes, and its work on the first chunks of a window is new to it.
        usual_s = deadlines.answer if settings.routing.encoder == "rank0" else deadlines.message
        warm = config.local_attn_size // config.chunk_frames
        self._make_clock = partial(ResponseTimer, usual_s, deadlines.message, warm)
        make_layout = LAYOUTS[settings.layout.name]
        self._supervised = rules.restarts > 0 and make_layout.restarts
        self._layout = make_layout(without_fault(settings), config)
        self._ranks = settings.layout
        self._metrics, self._events, self._folder = metrics, events, folder
        self._budget = RestartBudget(rules.restarts, rules.window_s, rules.pauses_s)
        self._pause_s = 0.0
        self._guard: MeshWatchdog | None = None
        self._late: MeshFailure | None = None
        self.own_clock: ResponseTimer | None = None
        """Of a mesh in this process: what hangs there can't be ended alone."""
        self._swap = threading.Lock()
        """Guards `_closed`, `_guard`, and the exchange of one mesh for the next."""
        self._closed = False
        self.generation = 0
        """Meshes before this one."""
        self._mesh: Mesh = make_layout(settings, config).start(folder, self.generation)

    def connect(self) -> MeshLink:
        """Meet the first mesh; see `layouts.base.Mesh.connect`."""
        return self._join()

    def check(self) -> None:
        if self._guard is not None and self._guard.loss is not None:
            raise MeshError(self._guard.loss.text)

    def fail(self, error: Exception) -> None:
        found = self._unwatch(LOOK_S if isinstance(error, PeerError) else 0.0)
        loss, self._late = found or self._late or MeshFailure("error", first_line(error)), None
        self._mesh.kill()
        self._pause_s = self._spend(loss, error)
        let_frames_go(error)

    def renew(self, stopped: Callable[[], bool]) -> MeshLink | None:
        while not self._pause(stopped):
            try:
                with self._swap:
                    if self._closed:
                        return None
                    self._mesh.stop(None, 0.0)
                    self.generation += 1
                    self._mesh = self._layout.start(self._folder, self.generation)
                link = self._join()
            except MeshError as error:
                self.fail(error)
                continue
            log.warning("mesh generation %d is up", self.generation, extra={"generation": self.generation})
            self._events.publish("restarted", generation=self.generation)
            return link
        return None

    def ranks(self) -> dict[str, dict[str, Any]]:
        return self._mesh.ranks()

    def memory(self) -> Mapping[str, Components]:
        return self._mesh.memory()

    def stop(self, shutdown: wire.EncodedMessage | None, timeout_s: float) -> None:
        """End the mesh for good; see `layouts.base.Mesh.stop`."""
        with self._swap:
            self._closed = True
        self._unwatch()
        self._mesh.stop(shutdown, timeout_s)

    def _join(self) -> MeshLink:
        clock = self._make_clock()
        try:
            link = self._mesh.connect(clock, self._metrics.result_repeated)
        except PeerError as error:
            self._late = diagnose_hang(self._mesh.processes, str(error), self._folder)
            log.error("%s%s", self._late.text, self._late.detail)
            raise MeshError(self._late.text) from error
        if not self._mesh.processes:
            self.own_clock = clock
            return link
        with self._swap:
            if not self._closed:  # `stop` has looked for a guard already, and ends this mesh
                self._guard = MeshWatchdog(self._mesh, clock, self._folder)
        return link

    def _unwatch(self, look_s: float = 0.0) -> MeshFailure | None:
        """look_s: how long to wait for the reason of what the link has noticed."""
        with self._swap:
            guard, self._guard = self._guard, None
        if guard is None:
            return None
        guard.close(look_s)
        return guard.loss

    def _spend(self, loss: MeshFailure, error: Exception) -> float:
        """The pause before the next try. Raises what ends the run when there is none."""
        if not self._supervised:
            raise error if loss.reason == "error" else MeshError(loss.text) from error
        pause_s = self._budget.spend(time.monotonic())
        if pause_s is None:
            where = self._places(loss.rank)
            raise MeshError(f"{loss.text}, and no restart is left: {self._budget}; {where}") from error
        coming = {"generation": self.generation + 1}
        log.warning("%s: the mesh is started anew in %g s", loss.text, pause_s, extra=coming)
        self._metrics.mesh_restarts(loss.reason)
        self._events.publish("restarting", reason=loss.reason, text=loss.text, generation=self.generation + 1)
        return pause_s

    def _places(self, rank: int | None) -> str:
        """The device that may have to be looked at: of one rank, or of all of the mesh where it is not known whose."""
        ranks = range(LEADER, self._ranks.mesh_ranks + 1) if rank is None else [rank]
        return ", ".join(f"rank {rank} is on {self._ranks.device_of(rank)}" for rank in ranks)

    def _pause(self, stopped: Callable[[], bool]) -> bool:
        """True when it was cut short."""
        end = time.monotonic() + self._pause_s
        while not stopped():
            if time.monotonic() >= end:
                return False
            time.sleep(POLL_S)
        return True
