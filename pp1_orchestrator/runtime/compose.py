"""Puts a stream together from settings: mesh, models, strategies, session. Opened and closed as one thing."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.contract import Action
from pp1_orchestrator.events import EventBus
from pp1_orchestrator.measure.chunks import ChunkLog
from pp1_orchestrator.measure.metrics import Metrics
from pp1_orchestrator.measure.spans import SpanRecorder
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.ports import FrameSink, PromptUpdate
from pp1_orchestrator.runtime.build_stage0 import load_decoder, load_encoder
from pp1_orchestrator.runtime.checkpoint import Components
from pp1_orchestrator.runtime.layouts.base import Mesh
from pp1_orchestrator.runtime.process import limit_threads, peak_bytes
from pp1_orchestrator.runtime.registry import CONTEXTS, LAYOUTS, OVERLAPS, ROUTINGS
from pp1_orchestrator.stage0.observers import Receipts, Telemetry
from pp1_orchestrator.stage0.planner import ChunkShape, Planner
from pp1_orchestrator.stage0.prompts import PromptBook
from pp1_orchestrator.stage0.script import Script
from pp1_orchestrator.stage0.session import Session, SessionInfo, SessionParts
from pp1_orchestrator.stage0.stage import Observer, Stage
from pp1_orchestrator.stage0.wishes import StreamWishes
from pp1_orchestrator.transport.link import MeshLink

log = logging.getLogger(__name__)
RANK0 = "0"


@dataclass(frozen=True, slots=True)
class Instruments:
    """What watches a run; made before the stream, since server and sinks need some of it."""

    metrics: Metrics
    events: EventBus
    receipts: Receipts
    chunk_log: ChunkLog

    @classmethod
    def make(cls, warmup_chunks: int) -> Instruments:
        metrics, events = Metrics(warmup_chunks), EventBus()
        return cls(metrics, events, Receipts(events, metrics), ChunkLog())


class Stream:
    """A running stream with everything it owns. `close` ends it in order; afterwards `memory` is complete."""

    def __init__(
        self,
        settings: Settings,
        config: WanConfig,
        script: Script,
        instruments: Instruments,
        sink: FrameSink,
        observers: Sequence[Observer] = (),
        trace_folder: Path | None = None,
    ) -> None:
        self._settings, self._config, self._trace_folder = settings, config, trace_folder
        self._device = torch.device(settings.layout.device)
        self._components: Components = {}
        self._spans = SpanRecorder(rank=0)
        limit_threads(settings.layout.threads)
        started = time.monotonic()
        self._mesh: Mesh = LAYOUTS[settings.layout.name](settings, config).start(trace_folder)
        try:
            self._stage, self.session = self._compose(script, instruments, sink, observers)
        except BaseException:
            self._mesh.stop(None, 0.0)
            raise
        log.info("%s is up in %.1f s", self.describe(), time.monotonic() - started)

    def describe(self) -> str:
        """The choices, in one line."""
        return " ".join(f"{key}={value}" for key, value in run_choices(self._settings).items())

    def close(self) -> None:
        """Finish what is in flight, then stop the mesh. Safe to call once, from the main thread."""
        deadline = self._settings.deadlines.stop / 2
        link_is_free = self.session.stop(deadline)
        self._components["decode_cache"] = self._stage.decode_cache_bytes
        self._mesh.stop(self._stage.message(Action.SHUTDOWN) if link_is_free else None, deadline)
        if self._trace_folder is not None:
            self._spans.write_part(self._trace_folder)

    def memory(self) -> dict[str, Components]:
        """Bytes by rank and component."""
        own = {**self._components, "peak": peak_bytes(self._device)}
        return {RANK0: own, **self._mesh.memory()}

    def ranks(self) -> dict[str, Any]:
        state = "down" if self.session.done.is_set() else "up"
        return {RANK0: {"pid": os.getpid(), "device": str(self._device), "state": state}, **self._mesh.ranks()}

    def _compose(
        self, script: Script, instruments: Instruments, sink: FrameSink, observers: Sequence[Observer]
    ) -> tuple[Stage, Session]:
        settings = self._settings
        decoder = load_decoder(settings, self._device)
        encoder = load_encoder(settings, self._config, self._device)
        self._components |= {"vae": decoder.weight_bytes, "text_encoder": encoder.weight_bytes}
        routing = ROUTINGS[settings.routing.name](encoder)
        link = self._mesh.connect()
        book = PromptBook(routing, instruments.events)
        shape = ChunkShape(
            self._config.chunk_frames, self._config.in_dim, settings.stream.height, settings.stream.width
        )
        context = CONTEXTS[settings.context.name]()
        planner = Planner(shape, settings.model.steps, settings.seed, context, routing)
        wishes = StreamWishes(book, script, PromptUpdate(prompt=settings.run.prompt), settings.run.chunks)
        telemetry = Telemetry(instruments.metrics, instruments.chunk_log)
        watchers = [instruments.receipts, telemetry, *observers]
        stage = Stage(planner, wishes, decoder, sink, watchers, self._spans, link.device)
        parts = SessionParts(
            stage,
            planner,
            self._overlap(link),
            wishes,
            book,
            instruments.receipts,
            telemetry,
            instruments.chunk_log,
            instruments.events,
        )
        return stage, Session(parts, self._info())

    def _overlap(self, link: MeshLink) -> Any:
        return OVERLAPS[self._settings.overlap.name](link, self._spans)

    def _info(self) -> SessionInfo:
        settings = self._settings
        choices: dict[str, Any] = {**run_choices(settings), "seed": settings.seed, "fps": settings.stream.fps}
        choices |= {"height": settings.stream.height, "width": settings.stream.width}
        return SessionInfo(choices, self.ranks, settings.deadlines.heartbeat, settings.deadlines.chunk)


def run_choices(settings: Settings) -> dict[str, str]:
    """The word chosen in each group."""
    groups = ("model", "routing", "overlap", "context", "layout")
    return {group: getattr(settings, group).name for group in groups}
