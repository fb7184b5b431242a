"""Everything in one process: rank 0's own threads do the mesh's work. Any device."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.contract import Envelope, Result, wire
from pp1_orchestrator.layouts.process_mesh import RankProcess
from pp1_orchestrator.loading.checkpoint import Components
from pp1_orchestrator.mesh.build_generator import load_weights, make_generator, make_recipe_resolver
from pp1_orchestrator.mesh.worker import MeshWorker
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.tensor_parallel import Place
from pp1_orchestrator.processes.cuda_clock import leave_part, make_recorder
from pp1_orchestrator.transport.link import InlineChannel, MeshLink
from pp1_orchestrator.transport.response_timer import ResponseTimer

RANK = "1"


class InlineMesh:
    """Implements `layouts.base.Mesh`."""

    def __init__(self, settings: Settings, config: WanConfig, folder: Path | None) -> None:
        self._device = torch.device(settings.layout.device)
        alone = Place(0, 1)
        state = load_weights(settings, config, alone, self._device)
        self._spans = make_recorder(settings, int(RANK), self._device)
        generator, components = make_generator(state, settings, config, alone)
        resolver, text_bytes = make_recipe_resolver(settings, config, self._device, self._device, self._spans)
        self._components = components | text_bytes
        self._folder = folder
        worker = MeshWorker(generator, self._spans, self._device)

        def infer(envelope: Envelope) -> Result:
            return worker.infer(resolver.resolve(envelope), idle_ms=0.0)

        self._channel = InlineChannel(infer, worker.run_context_pass, self._device)

    def connect(self, timer: ResponseTimer | None = None, on_duplicate: Callable[[], None] | None = None) -> MeshLink:
        return MeshLink(self._channel, timer, on_duplicate)

    @property
    def processes(self) -> Mapping[int, RankProcess]:
        return {}

    def last_words(self, rank: int) -> str:
        return ""

    def misses(self, rank: int) -> bool:
        return False

    def ranks(self) -> dict[str, dict[str, Any]]:
        return {RANK: {"pid": os.getpid(), "device": str(self._device), "state": "up"}}

    def memory(self) -> dict[str, Components]:
        return {RANK: self._components}

    def kill(self) -> None:
        """There is no process to end."""

    def stop(self, shutdown: wire.EncodedMessage | None, timeout_s: float) -> None:
        """The generator is gone then: another mesh may need its memory."""
        self._channel.release()
        gc.collect()
        if self._folder is not None:
            leave_part(self._spans, self._folder)


class InlineLayout:
    """layout=inline."""

    restarts: ClassVar[bool] = True

    @staticmethod
    def rank_here() -> int:
        return 0

    def __init__(self, settings: Settings, config: WanConfig) -> None:
        self._settings, self._config = settings, config

    def start(self, folder: Path | None, generation: int) -> InlineMesh:
        return InlineMesh(self._settings, self._config, folder)
