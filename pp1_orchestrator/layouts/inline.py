"""layout=inline: everything in one process. The mesh's work is done by rank 0's own threads, on any device."""

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.contract import Envelope, Result, wire
from pp1_orchestrator.layouts.base import Layout, Mesh
from pp1_orchestrator.loading.checkpoint import Components
from pp1_orchestrator.mesh.build_generator import load_weights, make_generator, make_recipe_resolver
from pp1_orchestrator.mesh.worker import MeshWorker
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.tensor_parallel import Place
from pp1_orchestrator.processes.cuda_clock import make_recorder
from pp1_orchestrator.transport.link import InlineChannel, MeshLink
from pp1_orchestrator.transport.response_timer import ResponseTimer

RANK = "1"


class InlineMesh(Mesh):
    """A mesh of one rank."""

    def __init__(self, settings: Settings, config: WanConfig, folder: Path | None) -> None:
        self._device, self._folder = torch.device(settings.layout.device), folder
        alone = Place(0, 1)
        state = load_weights(settings, config, alone, self._device)
        self._spans = make_recorder(settings, int(RANK), self._device)
        generator, components = make_generator(state, settings, config, alone)
        resolver, text_bytes = make_recipe_resolver(settings, config, self._device, self._device, self._spans)
        self._components = components | text_bytes
        worker = MeshWorker(generator, self._spans, self._device)

        def infer(envelope: Envelope) -> Result:
            return worker.infer(resolver.resolve(envelope), idle_ms=0.0)

        self._channel = InlineChannel(infer, worker.run_context_pass, self._device)

    def connect(self, timer: ResponseTimer | None = None, on_duplicate: Callable[[], None] | None = None) -> MeshLink:
        return MeshLink(self._channel, timer, on_duplicate)

    def ranks(self) -> dict[str, dict[str, Any]]:
        return {RANK: {"pid": os.getpid(), "device": str(self._device), "state": "up"}}

    def memory(self) -> dict[str, Components]:
        return {RANK: self._components}

    def stop(self, shutdown: wire.EncodedMessage | None, timeout_s: float) -> None:
        """Free the generator: another mesh may need its memory."""
        self._channel.release()
        gc.collect()
        if self._folder is not None:
            self._spans.write_part(self._folder)


class InlineLayout(Layout):
    """layout=inline."""

    def start(self, folder: Path | None, generation: int) -> InlineMesh:
        return InlineMesh(self._settings, self._config, folder)
