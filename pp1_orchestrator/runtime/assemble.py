"""Puts rank 0's parts together: which class for which word, who gets what. Decides nothing at run time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec
import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.contract import wire
from pp1_orchestrator.measure.spans import SpanRecorder
from pp1_orchestrator.models.vae.pictures import pictures_for
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.ports import FrameSink, TimelineEntry
from pp1_orchestrator.runtime.build_stage0 import check_vae, load_vae_parts
from pp1_orchestrator.runtime.build_text import check_encoder, load_encoder, make_prompt_limit
from pp1_orchestrator.runtime.instruments import Instruments
from pp1_orchestrator.runtime.load_phases import LoadPhases
from pp1_orchestrator.runtime.registry import CONTEXTS, OVERLAPS, ROUTINGS
from pp1_orchestrator.runtime.supervisor import Supervisor
from pp1_orchestrator.runtime.watched_decoding import WatchedDecoding
from pp1_orchestrator.stage0.context import StreamHistory
from pp1_orchestrator.stage0.decoding import PixelParts
from pp1_orchestrator.stage0.life import Life
from pp1_orchestrator.stage0.observers import Onlooker, Telemetry
from pp1_orchestrator.stage0.overlap.base import Depths, Overlap, OverlapParts
from pp1_orchestrator.stage0.planner import ChunkShape, Planner, PlanRules
from pp1_orchestrator.stage0.prompts import PromptBook
from pp1_orchestrator.stage0.routing import Routing
from pp1_orchestrator.stage0.script import Script
from pp1_orchestrator.stage0.session import SessionParts
from pp1_orchestrator.stage0.stage import Stage
from pp1_orchestrator.stage0.timeline import Timeline
from pp1_orchestrator.stage0.wishes import StreamWishes
from pp1_orchestrator.transport.link import MeshLink
from pp1_orchestrator.transport.watched import AnswerClock

SPOILED_LIMIT = 3


def check_models(settings: Settings) -> None:
    """What can be known of rank 0's models, and of the text encoder wherever it is, before anything is started."""
    check_vae(settings, CONTEXTS[settings.context.name]().needs_pixels)
    check_encoder(settings)


class Assembly:
    """Loads rank 0's models at once: pixels first, then prompts; `build` joins the mesh."""

    def __init__(self, settings: Settings, config: WanConfig, mesh: Supervisor, spans: SpanRecorder) -> None:
        self._settings, self._config, self._mesh, self._spans = settings, config, mesh, spans
        device = torch.device(settings.layout.device)
        self._context = CONTEXTS[settings.context.name]()
        self.loading = LoadPhases()
        deadlines = settings.deadlines
        self.decode_clock = AnswerClock(deadlines.decode, deadlines.message, warm=self._kept_chunks() + 1)
        with self.loading.phase("pixels", device) as parts:
            decoder, encoder, components = load_vae_parts(settings, config, device, self._context.needs_pixels)
            self._pixels = PixelParts(decoder, encoder, pictures_for(device))
            parts |= components
        self._routing = self._make_routing(device)
        self._limit = make_prompt_limit(settings, config)

    def build(
        self, script: Script, instruments: Instruments, sink: FrameSink, observers: Sequence[Onlooker]
    ) -> tuple[Stage, SessionParts, MeshLink]:
        """Meet the mesh, and tie everything to it. Raises what `Mesh.connect` raises."""
        settings, routing = self._settings, self._routing
        link = self._mesh.connect()
        book = PromptBook(routing, instruments.events, instruments.metrics, self._limit.exceeded)
        history = StreamHistory(self._kept_chunks())
        planner = self._make_planner(history)
        timeline = Timeline(with_first_prompt(script, settings.run.prompt))
        wishes = StreamWishes(book, timeline, settings.run.chunks)
        telemetry = Telemetry(instruments.metrics, instruments.chunk_log)
        decoding = WatchedDecoding(self._pixels, history, self._spans, self.decode_clock)
        life = Life(instruments.metrics)
        watchers = [life, instruments.receipts, telemetry, instruments.record, *observers]
        pack = partial(wire.pack_envelope, device=link.device)
        # Figures of a run that was mended on the way would be worth nothing.
        spoiled_limit = SPOILED_LIMIT if settings.supervision.restarts else 1
        stage = Stage(planner, routing, wishes, decoding, sink, watchers, self._spans, pack, spoiled_limit)
        parts = SessionParts(
            stage=stage,
            planner=planner,
            make_overlap=partial(self._make_overlap, instruments),
            keeper=self._mesh,
            life=life,
            wishes=wishes,
            timeline=timeline,
            book=book,
            record=instruments.record,
            receipts=instruments.receipts,
            telemetry=telemetry,
            chunk_log=instruments.chunk_log,
            events=instruments.events,
        )
        return stage, parts, link

    def _make_overlap(self, instruments: Instruments, link: MeshLink) -> Overlap:
        chosen = self._settings.overlap
        depths = Depths(chosen.d_in, chosen.d_out)
        return OVERLAPS[chosen.name](OverlapParts(link, self._spans, instruments.queues, depths))

    def _make_routing(self, device: torch.device) -> Routing:
        kind = ROUTINGS[self._settings.routing.name]
        if kind.home != "rank0":
            return kind(None)
        with self.loading.phase("prompts", device) as parts:
            encoder, parts["text_encoder"] = load_encoder(self._settings, self._config, device, device)
        return kind(encoder)

    def _make_planner(self, history: StreamHistory) -> Planner:
        settings, config = self._settings, self._config
        shape = ChunkShape(config.chunk_frames, config.in_dim, settings.stream.height, settings.stream.width)
        context = settings.context
        rules = PlanRules(settings.model.steps, context.recompute_every, context.attention_bias)
        return Planner(shape, rules, settings.seed, self._context, self._routing, history)

    def _kept_chunks(self) -> int:
        """Chunks before the one being made that fit in the generator's window."""
        return self._config.local_attn_size // self._config.chunk_frames - 1


def with_first_prompt(script: Script, prompt: str) -> Script:
    """A script that shows `prompt` from chunk 0 on unless it says otherwise itself."""
    first = next((entry for entry in script if entry.chunk == 0), TimelineEntry(chunk=0))
    if not first.has_prompt:
        first = msgspec.structs.replace(first, prompt=prompt)
    return [first, *(entry for entry in script if entry.chunk != 0)]
