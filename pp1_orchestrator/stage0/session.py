"""A running stream: the thread that makes chunks, and what the API may ask of it. Knows nothing of processes."""

import gc
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pp1_orchestrator.contract import Action
from pp1_orchestrator.errors import (
    ContractError,
    MeshError,
    Pp1Error,
    RequestError,
    Stage0Error,
    named_line,
    public_line,
)
from pp1_orchestrator.event_bus import EventBus
from pp1_orchestrator.processes.log_setup import tracebacks
from pp1_orchestrator.stage0.lifecycle import StreamLifecycle
from pp1_orchestrator.stage0.observers import Recording
from pp1_orchestrator.stage0.overlap.base import Overlap
from pp1_orchestrator.stage0.pending_requests import PendingRequests
from pp1_orchestrator.stage0.pipeline import ChunkPipeline
from pp1_orchestrator.stage0.receipts import Receipts
from pp1_orchestrator.stage0.recent_figures import recent_figures
from pp1_orchestrator.stage0.show import Show, ShowTracker
from pp1_orchestrator.stage0.validation import check_live_entries, check_seed, check_strength, check_takes_strength
from pp1_orchestrator.telemetry.records import ChunkLog, UpdateRecord
from pp1_orchestrator.transport.link import MeshLink
from pp1_orchestrator.transport.response_timer import ResponseTimer
from pp1_orchestrator.types import Control, PromptGuide, PromptReceipt, PromptUpdate, TimelineEntry

log = logging.getLogger(__name__)
IDLE_SLEEP_S = 0.02
ENDED = "the stream has ended"
"""Why an update that is not visible by then never will be."""


class MeshSupervisor(Protocol):
    """Watches the mesh and restarts it. `check` and `renew` belong to the session's thread."""

    def check(self) -> None:
        """Raises MeshError when the mesh is known to have failed."""

    def fail(self, error: Exception) -> None:
        """End the failed mesh, and with it every wait on its link. Raises the reason when no restart is left."""

    def renew(self, stopped: Callable[[], bool]) -> MeshLink | None:
        """A link to a new mesh, once the old link is no longer used. None when `stopped` returned True meanwhile.

        Raises the last attempt's reason when no restart is left.
        """


@dataclass(frozen=True, slots=True)
class SessionParts:
    """What a session is made of."""

    pipeline: ChunkPipeline
    make_overlap: Callable[[MeshLink], Overlap]
    """Called once for every mesh, with the link to it."""
    supervisor: MeshSupervisor
    lifecycle: StreamLifecycle
    requests: PendingRequests
    recording: Recording
    show: ShowTracker
    receipts: Receipts
    chunk_log: ChunkLog
    events: EventBus
    progress_timer: ResponseTimer
    """Lets a watchdog notice that no chunk gets on."""


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What a session reports, and its time limits in seconds."""

    config: Mapping[str, Any]
    guide: PromptGuide
    ranks: Callable[[], Mapping[str, Any]]
    """Pid, device and state of each rank."""
    stalled_on: Callable[[], str | None]
    """What this process hangs in, if anything."""
    heartbeat_s: float
    """The mesh gets a message at least this often."""
    chunk_deadline_s: float
    """The stream is not ready when its newest chunk is older."""
    release_s: float
    """How long rank 0's own work for a lost mesh may take to end."""
    source: Callable[[], Mapping[str, Any]] | None = None
    """What comes in beside the text, if anything, and how it is."""


class Session:
    """Implements `types.StreamControl`. `done` is set when the stream has ended; `failure` says why it broke."""

    def __init__(self, parts: SessionParts, link: MeshLink, info: SessionInfo) -> None:
        """link: to the first mesh. The session does not keep it, since it owns sockets and threads."""
        self._parts, self._info = parts, info
        self._overlap = parts.make_overlap(link)
        self._last_message_s = time.monotonic()
        self._lost = False
        self._thread = threading.Thread(target=self._run, name="stage0", daemon=True)
        self.done = threading.Event()
        self.failure: Exception | None = None

    def start(self) -> None:
        self._parts.requests.prompts.start()
        self._parts.requests.prefetch(1)
        self._thread.start()

    def request_stop(self) -> None:
        """End after the chunk in flight. Safe in a signal handler."""
        self._parts.requests.stopped = True

    def stop(self, timeout_s: float) -> bool:
        """Finish what is in flight and end. True when the link is free for a last message."""
        end = time.monotonic() + timeout_s
        self.request_stop()
        self._parts.lifecycle.enter("draining")
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        self._parts.requests.prompts.close(max(0.0, end - time.monotonic()))
        closed = self._overlap.close(max(0.0, end - time.monotonic()))
        return closed and not (self._thread.is_alive() or self._lost) and self.failure is None

    def stopped(self) -> None:
        """Everything has ended, the mesh included."""
        self._parts.lifecycle.enter("stopped")

    def update_prompt(self, update: PromptUpdate) -> PromptReceipt:
        return self._parts.requests.prompts.accept(update, self._parts.pipeline.head)

    def end_updates(self) -> None:
        self._parts.receipts.end(ENDED)

    def control(self, command: Control) -> None:
        requests = self._parts.requests
        if command.action == "seed":
            requests.request_cut("seed", check_seed(command.value))
        elif command.action == "hard_cut":
            requests.request_cut("requested")
        else:
            requests.paused = command.action == "pause"
        self._parts.events.publish("control", action=command.action, value=command.value)

    def set_strength(self, strength: float) -> None:
        if self._info.source is None:
            raise RequestError("strength needs an input, and source=none has none", 409)
        self._parts.requests.request_strength(check_strength(strength))
        self._parts.events.publish("source", strength=strength)

    def set_timeline(self, entries: Sequence[TimelineEntry], relative: bool) -> int:
        check_live_entries(entries)
        check_takes_strength(entries, self._info.source is not None)
        soonest = self._parts.requests.timeline.replace(entries, relative)
        self._parts.requests.prefetch(soonest)
        self._parts.events.publish("timeline", entries=len(entries), first_chunk=soonest)
        return soonest if relative else 0

    def timeline(self) -> list[TimelineEntry]:
        return self._parts.requests.timeline.from_chunk(self._parts.pipeline.planner.next_chunk)

    def recording(self) -> list[TimelineEntry]:
        return self._parts.recording.entries()

    def history(self) -> list[PromptUpdate]:
        return self._parts.show.history()

    def show(self) -> Show | None:
        """What another run would need to continue; None before the first chunk."""
        return self._parts.show.show(self._parts.requests.timeline)

    def prompt_guide(self) -> PromptGuide:
        return self._info.guide

    def state(self) -> dict[str, Any]:
        parts = self._parts
        return {
            "state": parts.lifecycle.state,
            "config": dict(self._info.config),
            "prompt": parts.receipts.prompt,
            "truncated": parts.receipts.truncated,
            "seed": parts.pipeline.planner.seed,
            "paused": parts.requests.paused,
            "source": None if self._info.source is None else dict(self._info.source()),
            "epoch": parts.pipeline.planner.cache_epoch,
            "chunk": parts.pipeline.head,
            "figures": recent_figures(parts.chunk_log, parts.requests.prompts.records),
            "ranks": dict(self._info.ranks()),
            "failed": None if self.failure is None else public_line(self.failure),
        }

    def updates(self) -> list[UpdateRecord]:
        """The newest prompt updates, oldest first."""
        return list(self._parts.requests.prompts.records)

    def alive(self) -> bool:
        return self._info.stalled_on() is None

    def ready(self) -> bool:
        newest, state = self._parts.chunk_log.newest(1), self._parts.lifecycle.state
        if not newest or self.done.is_set() or not self.alive() or state not in ("starting", "ready"):
            return False
        if self.paused:
            return True
        return state == "ready" and time.monotonic() - newest[0].emit_s < self._info.chunk_deadline_s

    @property
    def paused(self) -> bool:
        return self._parts.requests.paused

    def _run(self) -> None:
        try:
            while not (self._lost or self._finished()):
                self._make_chunks_or_recover()
                gc.collect()  # cycles with a lost mesh's errors keep its threads and sockets alive
        except Pp1Error as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - the thread's boundary, also for plug-ins: the run ends, and says why
            tracebacks.error("where the stream failed:", exc_info=error)
            self._fail(Stage0Error(f"a part of the stream has failed: {named_line(error)}"))
        except SystemExit as error:  # a plug-in's: Python would end the thread without a word, and the run with code 0
            self._fail(Stage0Error(f"a part of the stream has called sys.exit: {named_line(error)}"))
        finally:
            self.end_updates()
            self.done.set()

    def _fail(self, error: Pp1Error) -> None:
        self.failure = error
        self._parts.lifecycle.enter("failed")
        log.error("the stream has ended: %s", named_line(error))
        self._parts.events.publish("failed", reason=public_line(error))

    def _finished(self) -> bool:
        pipeline = self._parts.pipeline
        return self._parts.requests.exhausted(pipeline.planner.next_chunk) and not pipeline.in_flight

    def _make_chunks_or_recover(self) -> None:
        try:
            self._make_chunks()
        except (MeshError, ContractError) as error:
            if self._parts.requests.stopped:
                log.warning("the mesh was lost while the stream ended; it is no longer needed: %s", error)
                self._lost = True
                return
            self._recover(error)

    def _make_chunks(self) -> None:
        while not self._finished():
            with self._parts.progress_timer.timed():
                self._step_until_progress()
        self._parts.pipeline.failures.check()

    def _step_until_progress(self) -> None:
        """Step until a chunk has got on, or none is wanted."""
        while not (self._advance() or self._finished()):
            time.sleep(IDLE_SLEEP_S)
            if self.paused:
                return

    def _advance(self) -> bool:
        """One step. Whether a chunk has got on, whatever the strategy says: a plug-in's may say anything."""
        parts = self._parts
        parts.supervisor.check()
        parts.pipeline.failures.check()
        before = parts.pipeline.position
        self._overlap.step(parts.pipeline)
        now_s, advanced = time.monotonic(), parts.pipeline.position != before
        if advanced:
            self._last_message_s = now_s
        elif now_s - self._last_message_s >= self._info.heartbeat_s:
            self._overlap.post(parts.pipeline.message(Action.NOOP))
            self._last_message_s = now_s
        return advanced

    def _recover(self, error: Exception) -> None:
        """Continue with a new mesh. Raises when no restart is left."""
        parts = self._parts
        parts.lifecycle.enter("restarting")
        parts.supervisor.fail(error)
        if not self._overlap.close(self._info.release_s):
            raise Stage0Error("rank 0's work for the lost mesh did not end in time") from error
        parts.pipeline.abandon()
        link = parts.supervisor.renew(lambda: parts.requests.stopped)
        if link is not None:
            self._overlap = parts.make_overlap(link)
            self._last_message_s = time.monotonic()
            parts.lifecycle.enter("starting")
