"""What a session needs of whoever looks after its mesh.

A running stream: the thread that makes chunks, and what the outside may ask of it.

The figures that a person watches while the stream runs, taken from its newest chunks.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol

from pp1_orchestrator.contract import Action
from pp1_orchestrator.errors import ContractError, MeshError, Stage0Error, named_line, public_line
from pp1_orchestrator.events import EventBus
from pp1_orchestrator.stage0.lifecycle import StreamLifecycle
from pp1_orchestrator.stage0.observers import Receipts, Recording, Telemetry
from pp1_orchestrator.stage0.overlap.base import Overlap
from pp1_orchestrator.stage0.pending_requests import PendingRequests
from pp1_orchestrator.stage0.pipeline import ChunkPipeline
from pp1_orchestrator.stage0.planner import Planner
from pp1_orchestrator.stage0.prompt_queue import PromptQueue
from pp1_orchestrator.stage0.timeline import Timeline
from pp1_orchestrator.stage0.validation import check_entries, check_seed
from pp1_orchestrator.telemetry.records import ChunkLog, UpdateRecord
from pp1_orchestrator.transport.link import MeshLink
from pp1_orchestrator.types import Control, PromptReceipt, PromptUpdate, TimelineEntry


class MeshSupervisor(Protocol):
    """Watches the mesh and starts it anew. `check` and `renew` belong to the session's thread."""

    def check(self) -> None:
        """Raises MeshError when the mesh is known to have failed."""
        ...

    def fail(self, error: Exception) -> None:
        """End the mesh that has failed; every wait on its link ends, too. Raises the reason when no try is left."""
        ...

    def renew(self, stopped: Callable[[], bool]) -> MeshLink | None:
        """A link to a new mesh, once nobody uses the old one's; None when `stopped` said so meanwhile.

        Raises the last try's reason when no try is left.
        """
        ...


RECENT = 20


def recent_figures(chunk_log: ChunkLog, updates: Sequence[UpdateRecord]) -> dict[str, Any]:
    """Frames a second and median milliseconds over the last chunks, and the newest prompt's way to pixels."""
    records = chunk_log.newest(RECENT)
    figures: dict[str, Any] = {"chunks": records[-1].chunk_index + 1 if records else 0}
    if len(records) > 1:
        span = records[-1].emit_s - records[0].emit_s
        figures["fps"] = round(sum(r.frames for r in records[1:]) / span, 1) if span > 0 else None
        figures["phases_ms"] = {
            "text": round(max(r.text_ms + r.mesh_text_ms for r in records), 1),
            "denoise": round(median(r.denoise_ms for r in records), 1),
            "context": round(median(r.context_ms for r in records), 1),
            "decode": round(median((r.emit_s - r.decode_start_s) * 1e3 for r in records), 1),
        }
    shown = next((u for u in reversed(updates) if u.emitted_s is not None and u.applied_chunk is not None), None)
    if shown is not None and shown.emitted_s is not None and shown.applied_chunk is not None:
        figures["prompt_to_pixels_ms"] = round((shown.emitted_s - shown.accepted_s) * 1e3, 1)
        figures["prompt_to_pixels_chunks"] = shown.applied_chunk - shown.accepted_chunk
    return figures


log = logging.getLogger(__name__)
IDLE_SLEEP_S = 0.02


@dataclass(frozen=True, slots=True)
class SessionParts:
    """What a session is composed of. make_overlap: called once for every mesh, with the link to it."""

    stage: ChunkPipeline
    planner: Planner
    make_overlap: Callable[[MeshLink], Overlap]
    keeper: MeshSupervisor
    life: StreamLifecycle
    wishes: PendingRequests
    timeline: Timeline
    book: PromptQueue
    record: Recording
    receipts: Receipts
    telemetry: Telemetry
    chunk_log: ChunkLog
    events: EventBus


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """config: the choices, for people; ranks: a call that tells each rank's pid, device and state;
    stuck: one that says what this process does not come to an end with, if anything.

    heartbeat_s: how long the mesh may hear nothing; chunk_deadline_s: a chunk older than this means not ready;
    release_s: how long what rank 0 still does for a lost mesh may take.
    """

    config: Mapping[str, Any]
    ranks: Callable[[], Mapping[str, Any]]
    stuck: Callable[[], str | None]
    heartbeat_s: float
    chunk_deadline_s: float
    release_s: float


class Session:
    """Implements `ports.StreamControl`. `done` is set when the stream has ended, `failure` says why if it broke."""

    def __init__(self, parts: SessionParts, link: MeshLink, info: SessionInfo) -> None:
        """link: to the first mesh. It is not kept: sockets and threads hang on it."""
        self._parts, self._info = parts, info
        self._overlap = parts.make_overlap(link)
        self._last_message_s = time.monotonic()
        self._lost = False
        self._thread = threading.Thread(target=self._run, name="stage0", daemon=True)
        self.done = threading.Event()
        self.failure: Exception | None = None

    def start(self) -> None:
        self._parts.book.start()
        self._parts.wishes.prefetch(1)
        self._thread.start()

    def request_stop(self) -> None:
        """End after the chunk in flight. Safe in a signal handler."""
        self._parts.wishes.stopped = True

    def stop(self, timeout_s: float) -> bool:
        """Finish what is in flight and end. True when the link is free for a last message."""
        end = time.monotonic() + timeout_s
        self.request_stop()
        self._parts.life.enter("draining")
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        self._parts.book.close(max(0.0, end - time.monotonic()))
        closed = self._overlap.close(max(0.0, end - time.monotonic()))
        return closed and not (self._thread.is_alive() or self._lost) and self.failure is None

    def stopped(self) -> None:
        """Everything has been ended."""
        self._parts.life.enter("stopped")

    def update_prompt(self, update: PromptUpdate) -> PromptReceipt:
        return self._parts.book.accept(update, self._parts.stage.head)

    def control(self, command: Control) -> None:
        wishes = self._parts.wishes
        if command.action == "seed":
            wishes.request_cut("seed", check_seed(command.value))
        elif command.action == "hard_cut":
            wishes.request_cut("requested")
        else:
            wishes.paused = command.action == "pause"
        self._parts.events.publish("control", action=command.action, value=command.value)

    def set_timeline(self, entries: Sequence[TimelineEntry], relative: bool) -> int:
        parts = self._parts
        check_entries(entries)
        soonest = parts.timeline.replace(entries, relative)
        parts.wishes.prefetch(soonest)
        parts.events.publish("timeline", entries=len(entries), first_chunk=soonest)
        return soonest if relative else 0

    def timeline(self) -> list[TimelineEntry]:
        return self._parts.timeline.from_chunk(self._parts.planner.next_chunk)

    def recording(self) -> list[TimelineEntry]:
        return self._parts.record.entries()

    def state(self) -> dict[str, Any]:
        parts = self._parts
        return {
            "state": parts.life.state,
            "config": dict(self._info.config),
            "prompt": parts.receipts.prompt,
            "truncated": parts.receipts.truncated,
            "seed": parts.planner.seed,
            "paused": parts.wishes.paused,
            "epoch": parts.stage.epoch,
            "chunk": parts.stage.head,
            "figures": recent_figures(parts.chunk_log, parts.book.records),
            "ranks": dict(self._info.ranks()),
            "failed": None if self.failure is None else public_line(self.failure),
        }

    def updates(self) -> list[UpdateRecord]:
        """Every prompt update so far, oldest first."""
        return list(self._parts.book.records)

    def alive(self) -> bool:
        return self._info.stuck() is None

    def ready(self) -> bool:
        last, state = self._parts.telemetry.last_emit_s, self._parts.life.state
        if last is None or self.done.is_set() or not self.alive() or state not in ("starting", "ready"):
            return False
        if self._parts.wishes.paused:
            return True
        return state == "ready" and time.monotonic() - last < self._info.chunk_deadline_s

    @property
    def paused(self) -> bool:
        return self._parts.wishes.paused

    def _run(self) -> None:
        try:
            while not (self._lost or self._finished()):
                self._make_chunks_or_recover()
                gc.collect()  # a lost mesh hangs in cycles with its errors, and threads and sockets hang on it
        except Exception as error:  # noqa: BLE001 - the thread's boundary: the run ends, and says why
            self.failure = error
            self._parts.life.enter("failed")
            log.error("the stream has ended: %s", named_line(error))
            self._parts.events.publish("failed", reason=public_line(error))
        finally:
            self.done.set()

    def _finished(self) -> bool:
        parts = self._parts
        return parts.wishes.exhausted(parts.planner.next_chunk) and not parts.stage.in_flight

    def _make_chunks_or_recover(self) -> None:
        try:
            self._make_chunks()
        except (MeshError, ContractError) as error:
            if self._parts.wishes.stopped:
                log.warning("the mesh was lost while the stream ended, in which nobody misses it: %s", error)
                self._lost = True
                return
            self._recover(error)

    def _make_chunks(self) -> None:
        parts = self._parts
        while not self._finished():
            parts.keeper.check()
            parts.stage.check()
            if self._overlap.step(parts.stage):
                self._last_message_s = time.monotonic()
                continue
            self._keep_alive()
            time.sleep(IDLE_SLEEP_S)
        parts.stage.check()

    def _recover(self, error: Exception) -> None:
        """Go on with a new mesh. Raises when there is to be none."""
        parts = self._parts
        parts.life.enter("restarting")
        parts.keeper.fail(error)
        if not self._overlap.close(self._info.release_s):
            raise Stage0Error("what rank 0 still did for a lost mesh did not end in time") from error
        parts.stage.abandon()
        link = parts.keeper.renew(lambda: parts.wishes.stopped)
        if link is not None:
            self._overlap = parts.make_overlap(link)
            self._last_message_s = time.monotonic()
            parts.life.enter("starting")

    def _keep_alive(self) -> None:
        if time.monotonic() - self._last_message_s >= self._info.heartbeat_s:
            self._overlap.post(self._parts.stage.message(Action.NOOP))
            self._last_message_s = time.monotonic()
