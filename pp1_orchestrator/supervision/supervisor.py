"""Starts the mesh of a run, watches it, and replaces it when it fails.

A failed mesh is ended and replaced as a whole: each mesh has its own store, port and process groups, so nothing of a
failed one is left in the way. Rank 0's models, prompt, seed and viewers are not touched. The run fails when the mesh
fails more often than `supervision.restarts` allows.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.contract import wire
from pp1_orchestrator.errors import MeshError, PeerError, clear_frames, first_line
from pp1_orchestrator.event_bus import EventBus
from pp1_orchestrator.layouts.base import Layout, Mesh
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.supervision.mesh_watchdog import GRACE_S, MeshFailure, MeshWatchdog, diagnose_hang
from pp1_orchestrator.telemetry.metrics import Metrics
from pp1_orchestrator.testing.faults import without_fault
from pp1_orchestrator.transport.link import MeshLink
from pp1_orchestrator.transport.process_groups import LEADER
from pp1_orchestrator.transport.response_timer import ResponseTimer

log = logging.getLogger(__name__)
PAUSE_POLL_S = 0.05


class RestartBudget:
    """How often something may be restarted.

    Args:
        restarts: allowed number within any `window_s` seconds.
        pauses_s: seconds before the first, second … restart; the last one repeats.
    """

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


class Supervisor:
    """One run's. `kill` and `stop` may be called from any thread, all else from one thread at a time.

    mesh: the current one. generation: number of meshes before it. own_timers: of a mesh in this process, which can't be
    ended alone, by what it does; empty for any other mesh.
    """

    def __init__(
        self,
        settings: Settings,
        config: WanConfig,
        layout: Callable[[Settings, WanConfig], Layout],
        metrics: Metrics,
        events: EventBus,
        folder: Path | None,
    ) -> None:
        rules = settings.supervision
        self._settings, self._config, self._layout = settings, config, layout
        self._metrics, self._events, self._folder = metrics, events, folder
        self._budget = RestartBudget(rules.restarts, rules.window_s, rules.pauses_s)
        self._pause_s = 0.0
        self._start_failure: MeshFailure | None = None
        self.own_timers: dict[str, ResponseTimer] = {}
        self._lock = threading.Lock()
        """Guards `_closed`, `_watchdog`, and the replacement of `mesh`."""
        self._closed = False
        self._watchdog: MeshWatchdog | None = None
        self.generation = 0
        first = layout(settings, config)
        self._restartable = rules.restarts > 0 and first.restarts
        self.mesh: Mesh = first.start(folder, self.generation)

    def connect(self) -> MeshLink:
        """Wait for the current mesh. Raises what `Mesh.connect` raises; MeshError for a mesh that hangs."""
        timer = self._make_timer()
        try:
            link = self.mesh.connect(timer, self._metrics.result_repeated)
        except PeerError as error:
            failure = self._start_failure = diagnose_hang(self.mesh.processes, str(error), self._folder)
            log.error("%s%s", failure.text, failure.detail)
            raise MeshError(failure.text) from error
        if not self.mesh.processes:
            self.own_timers = {"generating": timer}
            return link
        with self._lock:
            if not self._closed:  # otherwise `stop` is about to end this mesh, which is no failure
                self._watchdog = MeshWatchdog(self.mesh, timer, self._folder)
        return link

    def check(self) -> None:
        """Raise MeshError if the mesh has failed."""
        watchdog = self._watchdog  # read once: `stop` may take it away meanwhile
        if watchdog is not None and watchdog.failure is not None:
            raise MeshError(watchdog.failure.text)

    def fail(self, error: Exception) -> None:
        """End the mesh because of `error`. Raises what ends the run when it may not be restarted."""
        found = self._close_watchdog(GRACE_S if isinstance(error, PeerError) else 0.0)
        failure = found or self._start_failure or MeshFailure("error", first_line(error))
        self._start_failure = None
        self.mesh.kill()
        self._pause_s = self._spend_restart(failure, error)
        clear_frames(error)

    def renew(self, stopped: Callable[[], bool]) -> MeshLink | None:
        """Replace the mesh after a pause, again and again if it fails to start. None when the stream was stopped."""
        while not self._pause(stopped):
            try:
                with self._lock:
                    if self._closed:
                        return None
                    self.mesh.stop(None, 0.0)
                    self.generation += 1
                    layout = self._layout(without_fault(self._settings), self._config)
                    self.mesh = layout.start(self._folder, self.generation)
                link = self.connect()
            except MeshError as error:
                self.fail(error)
                continue
            log.warning("mesh generation %d is up", self.generation, extra={"generation": self.generation})
            self._events.publish("restarted", generation=self.generation)
            return link
        return None

    def kill(self) -> None:
        """End the mesh's processes for good, and with them every wait on its link. `stop` follows."""
        with self._lock:
            self._closed = True
        self._close_watchdog()
        self.mesh.kill()

    def stop(self, shutdown: wire.EncodedMessage | None, timeout_s: float) -> None:
        """End the mesh for good; see `Mesh.stop`."""
        with self._lock:
            self._closed = True
        self._close_watchdog()
        self.mesh.stop(shutdown, timeout_s)

    def _make_timer(self) -> ResponseTimer:
        """For one mesh. Text encoding has no usual duration; the chunks of the first window do work for the first
        time."""
        config, deadlines = self._config, self._settings.deadlines
        usual_s = deadlines.answer if self._settings.routing.encoder == "rank0" else deadlines.message
        return ResponseTimer(usual_s, deadlines.message, config.local_attn_size // config.chunk_frames)

    def _close_watchdog(self, grace_s: float = 0.0) -> MeshFailure | None:
        """Stop watching. grace_s: how long to wait until it has found why the link failed."""
        with self._lock:
            watchdog, self._watchdog = self._watchdog, None
        if watchdog is None:
            return None
        watchdog.close(grace_s)
        return watchdog.failure

    def _spend_restart(self, failure: MeshFailure, error: Exception) -> float:
        """The pause before the next mesh. Raises when there is to be none."""
        if not self._restartable:
            raise error if failure.reason == "error" else MeshError(failure.text) from error
        pause_s = self._budget.spend(time.monotonic())
        if pause_s is None:
            where = self._devices_of(failure.rank)
            raise MeshError(f"{failure.text}, and no restart is left: {self._budget}; {where}") from error
        coming = self.generation + 1
        log.warning("%s: restarting the mesh in %g s", failure.text, pause_s, extra={"generation": coming})
        self._metrics.mesh_restarts(failure.reason)
        self._events.publish("restarting", reason=failure.reason, text=failure.text, generation=coming)
        return pause_s

    def _devices_of(self, rank: int | None) -> str:
        """The device that may be broken: of one rank, or of all where it is not known which."""
        layout = self._settings.layout
        ranks = range(LEADER, layout.mesh_ranks + 1) if rank is None else [rank]
        return ", ".join(f"rank {rank} is on {layout.device_of(rank)}" for rank in ranks)

    def _pause(self, stopped: Callable[[], bool]) -> bool:
        """Wait before the next mesh. True when the stream was stopped meanwhile."""
        end = time.monotonic() + self._pause_s
        while not stopped():
            if time.monotonic() >= end:
                return False
            time.sleep(PAUSE_POLL_S)
        return True
