"""A running stream from settings: mesh, models, strategies, session. Opened and closed as one thing."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.contract import Action
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.ports import FrameSink
from pp1_orchestrator.runtime.assemble import Assembly, check_models
from pp1_orchestrator.runtime.checkpoint import Components, check_checkpoint
from pp1_orchestrator.runtime.instruments import Instruments
from pp1_orchestrator.runtime.process import (
    keep_freed_memory,
    limit_threads,
    peak_bytes,
    resident_bytes,
    use_device,
)
from pp1_orchestrator.runtime.self_watch import SelfWatch
from pp1_orchestrator.runtime.supervisor import Supervisor
from pp1_orchestrator.runtime.tracing import leave_part, make_recorder
from pp1_orchestrator.stage0.observers import Onlooker
from pp1_orchestrator.stage0.script import Script
from pp1_orchestrator.stage0.session import Session, SessionInfo
from pp1_orchestrator.transport.watched import AnswerClock

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
        observers: Sequence[Onlooker] = (),
        trace_folder: Path | None = None,
    ) -> None:
        self._settings, self._config, self._trace_folder = settings, config, trace_folder
        self._device = torch.device(settings.layout.device)
        self._components: Components = {}
        self._spans = make_recorder(settings, 0, self._device)
        limit_threads(settings.layout.threads)
        keep_freed_memory()
        use_device(self._device, settings.layout.memory_share)
        started = time.monotonic()
        self._mesh = Supervisor(settings, config, instruments.metrics, instruments.events, trace_folder)
        try:
            assembly = Assembly(settings, config, self._mesh, self._spans)
            self._components |= assembly.loading.components
            self.load_s = assembly.loading.seconds
            self._stage, parts, link = assembly.build(script, instruments, sink, observers)
            self.session = Session(parts, link, self._info())
            self._watch = SelfWatch(  # last: its thread runs from now on
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
        self._components["decode_cache"] = self._stage.decode_cache_bytes
        shutdown = self._stage.message(Action.SHUTDOWN) if link_is_free else None
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


def _own_clocks(decoding: AnswerClock, mesh: Supervisor) -> dict[str, AnswerClock]:
    """Of what this process does itself."""
    return {"decoding": decoding} | ({} if mesh.own_clock is None else {"generating": mesh.own_clock})


def run_choices(settings: Settings) -> dict[str, str]:
    """The word chosen in each group."""
    groups = ("model", "routing", "overlap", "context", "layout")
    return {group: getattr(settings, group).name for group in groups}
