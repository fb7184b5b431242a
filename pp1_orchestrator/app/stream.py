"""A running stream from settings: loads rank 0's models, starts the mesh, ties everything to a session.

Opened and closed as one thing. Decides nothing while the stream runs.
"""

import logging
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import torch

from pp1_orchestrator.app.source_input import SourceInput, check_source_file
from pp1_orchestrator.app.strategy_registry import Registry
from pp1_orchestrator.config.schema import RUN_GROUPS, Settings
from pp1_orchestrator.contract import Action, wire
from pp1_orchestrator.contract.envelope import pixel_frames
from pp1_orchestrator.event_bus import EventBus
from pp1_orchestrator.loading.checkpoint import Components
from pp1_orchestrator.loading.stage0_models import (
    LoadPhases,
    check_stage0_models,
    load_encoder,
    load_prompt_guide,
    load_vae_parts,
    make_prompt_limit,
)
from pp1_orchestrator.models.vae.pixel_format import PixelFormat, pixel_format_for
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.processes.cuda_clock import make_recorder
from pp1_orchestrator.processes.process_tuning import (
    limit_threads,
    peak_bytes,
    resident_bytes,
    select_device,
    tune_malloc,
)
from pp1_orchestrator.stage0.context_policies import LatentHistory
from pp1_orchestrator.stage0.decoder import ChunkDecoder
from pp1_orchestrator.stage0.lifecycle import StreamLifecycle
from pp1_orchestrator.stage0.observers import BaseObserver, Recording, Telemetry
from pp1_orchestrator.stage0.overlap.base import Overlap, OverlapParts
from pp1_orchestrator.stage0.pending_requests import PendingRequests
from pp1_orchestrator.stage0.pipeline import ChunkPipeline
from pp1_orchestrator.stage0.planner import ChunkSpec, Planner
from pp1_orchestrator.stage0.prompt_queue import PromptQueue
from pp1_orchestrator.stage0.receipts import Receipts
from pp1_orchestrator.stage0.session import Session, SessionInfo, SessionParts
from pp1_orchestrator.stage0.show import ShowTracker
from pp1_orchestrator.stage0.timeline import Script, Timeline
from pp1_orchestrator.supervision.supervisor import Supervisor
from pp1_orchestrator.supervision.watchdog import ProcessWatchdog
from pp1_orchestrator.telemetry.metrics import Metrics, QueueDepths
from pp1_orchestrator.telemetry.records import ChunkLog
from pp1_orchestrator.telemetry.spans import SpanRecorder
from pp1_orchestrator.transport.link import MeshLink
from pp1_orchestrator.transport.response_timer import ResponseTimer
from pp1_orchestrator.types import FrameSink, PromptUpdate, TimelineEntry

log = logging.getLogger(__name__)
REJECTED_EPOCHS_LIMIT = 3
WAITS_A_STEP = 4
"""The longest waits of one step of an overlap: for a prompt's embedding, for the mesh, and twice for the decoder."""
CHUNKS_SHOWN = 2
"""And it may wait until so many chunks have been shown."""


class Instruments:
    """What observes one run. Made before the stream: the server and the sinks need a part of it.

    history: of the show that the run continues.
    """

    def __init__(self, warmup_chunks: int, history: Sequence[PromptUpdate] = ()) -> None:
        self.metrics, self.events = Metrics(warmup_chunks), EventBus()
        self.receipts = Receipts(self.events, self.metrics)
        self.chunk_log, self.queues, self.record = ChunkLog(), QueueDepths(self.metrics), Recording()
        self.show = ShowTracker(history)


def check_models(settings: Settings, config: WanConfig, registry: Registry) -> None:
    """Check the input, the files of rank 0's models, and of the text encoder on any rank. Loads none.

    Raises ConfigError.
    """
    check_source_file(settings, config)
    with_encoder = registry.context.kind.needs_pixels or settings.source.active
    check_stage0_models(settings, registry.decoder, with_encoder)
    load_prompt_guide(settings)


def run_choices(settings: Settings) -> dict[str, str]:
    """The chosen option of each group."""
    return {group: getattr(settings, group).name for group in RUN_GROUPS}


def with_first_prompt(script: Script, prompt: str) -> Script:
    """The script, with `prompt` at chunk 0 unless it has a prompt there."""
    first = next((entry for entry in script if entry.chunk == 0), TimelineEntry(chunk=0))
    if not first.has_prompt:
        first = msgspec.structs.replace(first, prompt=prompt)
    return [first, *(entry for entry in script if entry.chunk != 0)]


class StreamBuilder:
    """Loads rank 0's models when it is made; `build` puts them together with all else that a session needs."""

    def __init__(
        self, settings: Settings, config: WanConfig, registry: Registry, supervisor: Supervisor, spans: SpanRecorder
    ) -> None:
        self._settings, self._config, self._registry = settings, config, registry
        self._supervisor, self._spans = supervisor, spans
        self._device, deadlines = torch.device(settings.layout.device), settings.deadlines
        self._context = registry.context.make()
        self._window_chunks = config.local_attn_size // config.chunk_frames
        self.decode_timer = ResponseTimer(deadlines.decode, deadlines.message, warm=self._window_chunks)
        shown_s = CHUNKS_SHOWN * pixel_frames(config.chunk_frames, first=False) / settings.stream.fps
        step_s = WAITS_A_STEP * deadlines.message + shown_s
        self.progress_timer = ResponseTimer(step_s, step_s, warm=0)
        self.loading = LoadPhases()
        with self.loading.phase("pixels", self._device) as parts:
            with_encoder = self._context.needs_pixels
            loaded = load_vae_parts(settings, config, registry.decoder, self._device, with_encoder)
            self._decoder, self._frame_encoder, components = loaded
            parts |= components
        text_encoder = None
        if registry.routing.kind.home == "rank0":
            with self.loading.phase("prompts", self._device) as parts:
                text_encoder, parts["text_encoder"] = load_encoder(settings, config, self._device, self._device)
        self._routing = registry.routing.make(text_encoder)
        self._limit = make_prompt_limit(settings, config)
        self.source: SourceInput | None = None
        if settings.source.active:
            self.source = SourceInput(settings, config, registry, self._device, self.loading, spans)
            self._routing.prepare([] if settings.source.caption is None else [settings.source.caption])

    def build(
        self,
        link: MeshLink,
        script: Script,
        instruments: Instruments,
        sink: FrameSink,
        observers: Sequence[BaseObserver],
        pixel_format: PixelFormat | None = None,
    ) -> SessionParts:
        """The parts of a session. link: to the first mesh. pixel_format: by default the best one for video encoders."""
        settings, config, context = self._settings, self._config, self._settings.context
        prompts = PromptQueue(self._routing, instruments.receipts, self._limit.read_chars)
        history = LatentHistory(self._window_chunks)
        timeline = Timeline(with_first_prompt(script, settings.run.prompt))
        requests = PendingRequests(prompts, timeline, settings.run.chunks)
        telemetry = Telemetry(instruments.metrics, instruments.chunk_log)
        pixels = pixel_format or pixel_format_for(self._device)
        decoder = ChunkDecoder(self._decoder, self._frame_encoder, pixels, history, self._spans, self.decode_timer)
        lifecycle = StreamLifecycle(instruments.metrics)
        watchers = [lifecycle, instruments.receipts, telemetry, instruments.record, instruments.show, *observers]
        pack = partial(wire.pack_envelope, device=link.device)
        # Without restarts the run is a measurement: one rejected epoch makes its figures worthless.
        limit = REJECTED_EPOCHS_LIMIT if settings.supervision.restarts else 1
        size = config.chunk_frames, config.in_dim, settings.stream.height, settings.stream.width
        past = context.recompute_every, context.attention_bias, config.sink_frames, context.recache_mask
        spec = ChunkSpec(*size, settings.model.steps, *past, settings.model.first_steps)
        planned = self.source and self.source.planned
        planner = Planner(spec, settings.seed, self._context, self._routing, history, planned)
        return SessionParts(
            pipeline=ChunkPipeline(planner, requests, decoder, sink, watchers, self._spans, pack, limit),
            make_overlap=partial(self._make_overlap, instruments),
            supervisor=self._supervisor,
            lifecycle=lifecycle,
            requests=requests,
            recording=instruments.record,
            show=instruments.show,
            receipts=instruments.receipts,
            chunk_log=instruments.chunk_log,
            events=instruments.events,
            progress_timer=self.progress_timer,
        )

    def _make_overlap(self, instruments: Instruments, link: MeshLink) -> Overlap:
        chosen = self._settings.overlap
        parts = OverlapParts(link, self._spans, instruments.queues, chosen.d_in, chosen.d_out)
        return self._registry.overlap.make(parts)


class Stream:
    """A running stream and everything it owns. `close` ends it in order; `memory` is complete only after that.

    load_s: seconds that each of rank 0's parts took to load. progress_timer: of the wait for the next chunk.
    pixel_format: as for `StreamBuilder.build`. on_hang: what to do when rank 0's own work hangs, with why in a line; by
    default that ends the process. meanwhile: done by rank 0 while the mesh loads.
    """

    def __init__(
        self,
        settings: Settings,
        config: WanConfig,
        registry: Registry,
        script: Script,
        instruments: Instruments,
        sink: FrameSink,
        observers: Sequence[BaseObserver] = (),
        trace_folder: Path | None = None,
        meanwhile: Callable[[], object] = lambda: None,
        pixel_format: PixelFormat | None = None,
        on_hang: Callable[[str], None] | None = None,
    ) -> None:
        self._settings, self._config, self._trace_folder = settings, config, trace_folder
        self._device = torch.device(settings.layout.device)
        self._spans = make_recorder(settings, 0, self._device)
        limit_threads(settings.layout.threads)
        tune_malloc()
        select_device(self._device, settings.layout.memory_share)
        started = time.monotonic()
        layout, self._source = registry.layout.make, None
        self._supervisor = Supervisor(settings, config, layout, instruments.metrics, instruments.events, trace_folder)
        try:
            builder = StreamBuilder(settings, config, registry, self._supervisor, self._spans)
            self._source = builder.source
            self._components, self.load_s = dict(builder.loading.components), builder.loading.seconds
            meanwhile()
            link = self._supervisor.connect()
            parts = builder.build(link, script, instruments, sink, observers, pixel_format)
            self._pipeline, self.progress_timer = parts.pipeline, parts.progress_timer
            timers = {"decoding": builder.decode_timer, f"overlap={settings.overlap.name}": builder.progress_timer}
            if self._source is not None:
                timers[f"source={settings.source.name}"] = self._source.timer
            self.session = Session(parts, link, self._info())
            watched, longest_s = (lambda: timers | self._supervisor.own_timers), settings.deadlines.message
            # Last, because it starts a thread.
            self._watchdog = ProcessWatchdog(watched, longest_s, instruments.events, trace_folder, on_hang)
        except BaseException:
            self._supervisor.stop(None, 0.0)
            if self._source is not None:
                self._source.encoder.close(0.0)
            raise
        choices = " ".join(f"{key}={value}" for key, value in run_choices(settings).items())
        log.info("%s is up in %.1f s", choices, time.monotonic() - started)

    def run(self) -> None:
        """Start, wait for the end, close. Raises the stream's failure."""
        try:
            self.session.start()
            self.session.done.wait()
        finally:
            self.close()
        if self.session.failure is not None:
            raise self.session.failure

    def close(self) -> None:
        """Finish what is in flight, then stop the mesh. Call once, from the main thread."""
        self._watchdog.close()
        allowed = self._settings.deadlines.stop
        end = time.monotonic() + allowed
        link_is_free = self.session.stop(allowed / 2)
        if not link_is_free:  # what still waits for the mesh ends with it, and only then its files may be closed
            self._supervisor.kill()
            self.session.stop(allowed / 2)
        self._components["decode_cache"] = self._pipeline.decoder.state.nbytes
        if self._source is not None:
            self._source.encoder.close(max(0.0, end - time.monotonic()))
            self._components["encode_cache"] = self._source.encoder.state.nbytes
        shutdown = self._pipeline.message(Action.SHUTDOWN) if link_is_free else None
        self._supervisor.stop(shutdown, max(0.0, end - time.monotonic()))
        self.session.stopped()
        if self._trace_folder is not None:
            self._spans.write_part(self._trace_folder)

    def memory(self) -> dict[str, Components]:
        """Bytes by rank and component."""
        own = {**self._components, "peak": peak_bytes(self._device)}
        return {"0": own, **self._supervisor.mesh.memory()}

    def ranks(self) -> dict[str, Any]:
        """pid, device, state and memory of each rank."""
        memory, state = self.memory(), "down" if self.session.done.is_set() else "up"
        own: dict[str, Any] = {"pid": os.getpid(), "device": str(self._device), "state": state}
        return {
            rank: {**facts, "memory": {**memory.get(rank, {}), "resident": resident_bytes(facts["pid"])}}
            for rank, facts in {"0": own, **self._supervisor.mesh.ranks()}.items()
        }

    def _info(self) -> SessionInfo:
        settings, deadlines = self._settings, self._settings.deadlines
        choices: dict[str, Any] = {**run_choices(settings), "seed": settings.seed}
        choices |= msgspec.structs.asdict(settings.stream)
        choices |= {"steps": len(settings.model.steps), "weights": settings.model.weights}
        choices["chunk_s"] = pixel_frames(self._config.chunk_frames, first=False) / settings.stream.fps
        limits_s = deadlines.heartbeat, deadlines.chunk, deadlines.stop
        guide = load_prompt_guide(settings)
        source = None if self._source is None else self._source.state
        return SessionInfo(choices, guide, self.ranks, lambda: self._watchdog.stalled_on, *limits_s, source)
