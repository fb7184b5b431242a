"""Puts rank 0's parts together: which class for which word, who gets what. Decides nothing at run time.

A running stream from settings: mesh, models, strategies, session. Opened and closed as one thing.

What watches a run; made before the stream, since server and sinks need some of it.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import torch

from pp1_orchestrator.app.strategy_registry import CONTEXTS, OVERLAPS, ROUTINGS
from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.contract import Action, wire
from pp1_orchestrator.events import EventBus
from pp1_orchestrator.loading.checkpoint import Components, check_checkpoint
from pp1_orchestrator.loading.stage0_models import (
    LoadPhases,
    check_encoder,
    check_vae,
    load_encoder,
    load_vae_parts,
    make_prompt_limit,
)
from pp1_orchestrator.models.vae.pixel_format import pixel_format_for
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.processes.cuda_clock import leave_part, make_recorder
from pp1_orchestrator.processes.process_tuning import (
    limit_threads,
    peak_bytes,
    resident_bytes,
    tune_malloc,
    use_device,
)
from pp1_orchestrator.stage0.context import LatentHistory
from pp1_orchestrator.stage0.decoder import ChunkDecoder
from pp1_orchestrator.stage0.lifecycle import StreamLifecycle
from pp1_orchestrator.stage0.observers import BaseObserver, Receipts, Recording, Telemetry
from pp1_orchestrator.stage0.overlap.base import Overlap, OverlapParts
from pp1_orchestrator.stage0.pending_requests import PendingRequests
from pp1_orchestrator.stage0.pipeline import ChunkPipeline
from pp1_orchestrator.stage0.planner import ChunkSpec, Planner
from pp1_orchestrator.stage0.prompt_queue import PromptQueue
from pp1_orchestrator.stage0.routing import Routing
from pp1_orchestrator.stage0.session import Session, SessionInfo, SessionParts
from pp1_orchestrator.stage0.timeline import Script, Timeline
from pp1_orchestrator.supervision.supervisor import Supervisor
from pp1_orchestrator.supervision.watchdog import ProcessWatchdog
from pp1_orchestrator.telemetry.metrics import Metrics, QueueDepths
from pp1_orchestrator.telemetry.records import ChunkLog
from pp1_orchestrator.telemetry.spans import SpanRecorder
from pp1_orchestrator.transport.link import MeshLink
from pp1_orchestrator.transport.response_timer import ResponseTimer
from pp1_orchestrator.types import FrameSink, TimelineEntry


@dataclass(frozen=True, slots=True)
class Instruments:
    """One run's."""

    metrics: Metrics
    events: EventBus
    receipts: Receipts
    chunk_log: ChunkLog
    queues: QueueDepths
    record: Recording

    @classmethod
    def make(cls, warmup_chunks: int) -> Instruments:
        metrics, events = Metrics(warmup_chunks), EventBus()
        return cls(metrics, events, Receipts(events, metrics), ChunkLog(), QueueDepths(metrics), Recording())


REJECTED_EPOCHS_LIMIT = 3


def check_models(settings: Settings) -> None:
    """What can be known of rank 0's models, and of the text encoder wherever it is, before anything is started."""
    check_vae(settings, CONTEXTS[settings.context.name]().needs_pixels)
    check_encoder(settings)


class Assembly:
    """Loads rank 0's models at once: pixels first, then prompts; `build` joins the mesh."""

    def __init__(self, settings: Settings, config: WanConfig, mesh: Supervisor, spans: SpanRecorder) -> None:
        self._settings, self._config, self._mesh, self._spans = settings, config, mesh, spans
        device = self._device = torch.device(settings.layout.device)
        self._context = CONTEXTS[settings.context.name]()
        self.loading = LoadPhases()
        deadlines = settings.deadlines
        self.decode_clock = ResponseTimer(deadlines.decode, deadlines.message, warm=self._kept_chunks() + 1)
        with self.loading.phase("pixels", device) as parts:
            decoder, encoder, components = load_vae_parts(settings, config, device, self._context.needs_pixels)
            self._decoder, self._frame_encoder = decoder, encoder
            parts |= components
        self._routing = self._make_routing(device)
        self._limit = make_prompt_limit(settings, config)

    def build(
        self, script: Script, instruments: Instruments, sink: FrameSink, observers: Sequence[BaseObserver]
    ) -> tuple[ChunkPipeline, SessionParts, MeshLink]:
        """Meet the mesh, and tie everything to it. Raises what `Mesh.connect` raises."""
        settings = self._settings
        link = self._mesh.connect()
        prompts = PromptQueue(self._routing, instruments.events, instruments.metrics, self._limit.exceeded)
        history = LatentHistory(self._kept_chunks())
        timeline = Timeline(with_first_prompt(script, settings.run.prompt))
        requests = PendingRequests(prompts, timeline, settings.run.chunks)
        telemetry = Telemetry(instruments.metrics, instruments.chunk_log)
        decoder = ChunkDecoder(
            self._decoder, self._frame_encoder, pixel_format_for(self._device), history, self._spans, self.decode_clock
        )
        lifecycle = StreamLifecycle(instruments.metrics)
        watchers = [lifecycle, instruments.receipts, telemetry, instruments.record, *observers]
        pack = partial(wire.pack_envelope, device=link.device)
        # Figures of a run that was mended on the way would be worth nothing.
        limit = REJECTED_EPOCHS_LIMIT if settings.supervision.restarts else 1
        pipeline = ChunkPipeline(
            self._make_planner(history), requests, decoder, sink, watchers, self._spans, pack, limit
        )
        parts = SessionParts(
            pipeline=pipeline,
            make_overlap=partial(self._make_overlap, instruments),
            supervisor=self._mesh,
            lifecycle=lifecycle,
            requests=requests,
            timeline=timeline,
            prompts=prompts,
            recording=instruments.record,
            receipts=instruments.receipts,
            telemetry=telemetry,
            chunk_log=instruments.chunk_log,
            events=instruments.events,
        )
        return pipeline, parts, link

    def _make_overlap(self, instruments: Instruments, link: MeshLink) -> Overlap:
        chosen = self._settings.overlap
        parts = OverlapParts(link, self._spans, instruments.queues, chosen.d_in, chosen.d_out)
        return OVERLAPS[chosen.name](parts)

    def _make_routing(self, device: torch.device) -> Routing:
        kind = ROUTINGS[self._settings.routing.name]
        if kind.home != "rank0":
            return kind(None)
        with self.loading.phase("prompts", device) as parts:
            encoder, parts["text_encoder"] = load_encoder(self._settings, self._config, device, device)
        return kind(encoder)

    def _make_planner(self, history: LatentHistory) -> Planner:
        settings, config = self._settings, self._config
        steps, context = settings.model.steps, settings.context
        size = config.chunk_frames, config.in_dim, settings.stream.height, settings.stream.width
        spec = ChunkSpec(*size, steps, context.recompute_every, context.attention_bias)
        return Planner(spec, settings.seed, self._context, self._routing, history)

    def _kept_chunks(self) -> int:
        """Chunks before the one being made that fit in the generator's window."""
        return self._config.local_attn_size // self._config.chunk_frames - 1


def with_first_prompt(script: Script, prompt: str) -> Script:
    """A script that shows `prompt` from chunk 0 on unless it says otherwise itself."""
    first = next((entry for entry in script if entry.chunk == 0), TimelineEntry(chunk=0))
    if not first.has_prompt:
        first = msgspec.structs.replace(first, prompt=prompt)
    return [first, *(entry for entry in script if entry.chunk != 0)]


log = logging.getLogger(__name__)
RANK0 = "0"


def check_parts(settings: Settings, config: WanConfig) -> None:
    """What can be known of all models' files before anything is started. Raises ConfigError."""
    check_checkpoint(settings, config)
    check_models(settings)


class Stream:
    """A running stream with everything it owns. `close` ends it in order; afterwards `memory` is complete.

    load_s: seconds that each of rank 0's parts took to load.
    """

    def __init__(
        self,
        settings: Settings,
        config: WanConfig,
        script: Script,
        instruments: Instruments,
        sink: FrameSink,
        observers: Sequence[BaseObserver] = (),
        trace_folder: Path | None = None,
    ) -> None:
        self._settings, self._config, self._trace_folder = settings, config, trace_folder
        self._device = torch.device(settings.layout.device)
        self._components: Components = {}
        self._spans = make_recorder(settings, 0, self._device)
        limit_threads(settings.layout.threads)
        tune_malloc()
        use_device(self._device, settings.layout.memory_share)
        started = time.monotonic()
        self._mesh = Supervisor(settings, config, instruments.metrics, instruments.events, trace_folder)
        try:
            assembly = Assembly(settings, config, self._mesh, self._spans)
            self._components |= assembly.loading.components
            self.load_s = assembly.loading.seconds
            self._pipeline, parts, link = assembly.build(script, instruments, sink, observers)
            self.session = Session(parts, link, self._info())
            self._watch = ProcessWatchdog(  # last: its thread runs from now on
                partial(_own_clocks, assembly.decode_clock, self._mesh),
                settings.deadlines.message,
                instruments.events,
                trace_folder,
            )
        except BaseException:
            self._mesh.stop(None, 0.0)
            raise
        log.info("%s is up in %.1f s", self.describe(), time.monotonic() - started)

    def describe(self) -> str:
        """The choices, in one line."""
        return " ".join(f"{key}={value}" for key, value in run_choices(self._settings).items())

    def run(self) -> None:
        """From its start to its end, where nobody asks for one before; then it is closed. Raises its failure."""
        try:
            self.session.start()
            self.session.done.wait()
        finally:
            self.close()
        if self.session.failure is not None:
            raise self.session.failure

    def close(self) -> None:
        """Finish what is in flight, then stop the mesh. Safe to call once, from the main thread."""
        self._watch.close()
        allowed = self._settings.deadlines.stop
        end = time.monotonic() + allowed
        link_is_free = self.session.stop(allowed / 2)
        self._components["decode_cache"] = self._pipeline.decoder.state.nbytes
        shutdown = self._pipeline.message(Action.SHUTDOWN) if link_is_free else None
        self._mesh.stop(shutdown, max(0.0, end - time.monotonic()))
        self.session.stopped()
        if self._trace_folder is not None:
            leave_part(self._spans, self._trace_folder)

    def memory(self) -> dict[str, Components]:
        """Bytes by rank and component."""
        own = {**self._components, "peak": peak_bytes(self._device)}
        return {RANK0: own, **self._mesh.memory()}

    def ranks(self) -> dict[str, Any]:
        state = "down" if self.session.done.is_set() else "up"
        return {RANK0: {"pid": os.getpid(), "device": str(self._device), "state": state}, **self._mesh.ranks()}

    def _seen(self) -> dict[str, Any]:
        """The ranks as people see them: with what each of them holds."""
        memory = self.memory()
        return {
            rank: {**facts, "memory": {**memory.get(rank, {}), "resident": resident_bytes(facts["pid"])}}
            for rank, facts in self.ranks().items()
        }

    def _info(self) -> SessionInfo:
        settings = self._settings
        choices: dict[str, Any] = {**run_choices(settings), "seed": settings.seed, "fps": settings.stream.fps}
        choices |= {"height": settings.stream.height, "width": settings.stream.width}
        choices |= {"steps": len(settings.model.steps), "weights": settings.model.weights}
        deadlines = settings.deadlines
        return SessionInfo(
            choices, self._seen, lambda: self._watch.stuck, deadlines.heartbeat, deadlines.chunk, deadlines.stop
        )


def _own_clocks(decoding: ResponseTimer, mesh: Supervisor) -> dict[str, ResponseTimer]:
    """Of what this process does itself."""
    return {"decoding": decoding} | ({} if mesh.own_clock is None else {"generating": mesh.own_clock})


def run_choices(settings: Settings) -> dict[str, str]:
    """The word chosen in each group."""
    groups = ("model", "routing", "overlap", "context", "layout")
    return {group: getattr(settings, group).name for group in groups}
