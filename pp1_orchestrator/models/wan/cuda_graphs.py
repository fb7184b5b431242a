"""Passes on a CUDA device captured as graphs: launching a whole pass costs next to nothing.

A captured graph replays one sequence of kernels on fixed memory. What a pass reads and writes of the history depends on
the cache's position alone, so there is a graph for each position and kind of pass, made at its first use; text, table
and inputs lie at fixed places.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.rope import RopeTable
from pp1_orchestrator.models.wan.runner import ModelRunner, Text

MOST_GRAPHS = 128


class CudaGraphRunner:
    """Implements `passes.Passes` by replaying those of another. Used by one thread at a time."""

    def __init__(self, passes: ModelRunner, cache: KVCache) -> None:
        self._passes, self._cache = passes, cache
        self._graphs: dict[Hashable, tuple[torch.cuda.CUDAGraph, Any]] = {}
        self._pool = torch.cuda.graph_pool_handle()
        self._fixed: dict[str, list[Tensor]] = {}

    def keep_text(self, text: Text) -> Text:
        flat = self._fix("text", [tensor for pair in text for tensor in pair])
        return list(zip(flat[::2], flat[1::2], strict=True))

    def keep_rope(self, rope: RopeTable) -> Any:
        return tuple(self._fix("rope", self._passes.keep_rope(rope)))

    def flow(self, latents: Tensor, time: Tensor, text: Text, rope: Any) -> Tensor:
        latents, time = self._fix("inputs", (latents, time))
        return self._run("flow", lambda: self._passes.flow(latents, time, text, rope)).clone()

    def write(self, latents: Tensor, time: Tensor, text: Text, rope: Any) -> None:
        latents, time = self._fix("inputs", (latents, time))
        self._run("write", lambda: self._passes.write(latents, time, text, rope))

    def close(self) -> None:
        """NCCL ends a group only when no graph is left that has a sum of it, and waits for that without a limit.

        A replay that waits for a rank that is gone has none either: who has started this process must end it.
        """
        torch.cuda.synchronize()
        self._graphs.clear()

    def _fix(self, name: str, tensors: Sequence[Tensor]) -> list[Tensor]:
        """These values at the place that this name has, which is made for the first ones."""
        if name not in self._fixed:
            self._fixed[name] = [tensor.clone() for tensor in tensors]
        for place, tensor in zip(self._fixed[name], tensors, strict=True):
            place.copy_(tensor)
        return self._fixed[name]

    def _run(self, kind: str, run: Callable[[], Any]) -> Any:
        key = kind, self._cache.position
        if key not in self._graphs:
            if len(self._graphs) == MOST_GRAPHS:
                return run()
            run()  # whatever is compiled or chosen late is there then
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                out = run()
            self._graphs[key] = graph, out
        graph, out = self._graphs[key]
        graph.replay()
        return out
