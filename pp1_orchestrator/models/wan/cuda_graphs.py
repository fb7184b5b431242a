"""Passes captured as CUDA graphs, so that launching a whole pass costs the host next to nothing.

A graph replays one sequence of kernels on fixed memory. Which part of the cache a pass reads and writes depends only on
the cache's position, so there is one graph for each position and kind of pass, captured at its first use. Text, rotary
table and inputs are copied to static tensors.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from pp1_orchestrator.models.wan.compiled import CompiledRunner
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.model import CausalWanModel
from pp1_orchestrator.models.wan.ops.norms import EagerOps, TritonOps
from pp1_orchestrator.models.wan.ops.split_kv_attention import attention_kernel
from pp1_orchestrator.models.wan.rope import RopeTable
from pp1_orchestrator.models.wan.runner import EagerRunner, Text

MAX_GRAPHS = 128


class CudaGraphRunner(CompiledRunner):
    """Captures the compiled passes and replays them. Not thread-safe."""

    def __init__(self, model: CausalWanModel, cache: KVCache, fp8: bool) -> None:
        weight = model.patch_embedding.weight
        kernel = attention_kernel(weight.device, weight.dtype, model.config.head_dim)
        super().__init__(model, cache, ops=TritonOps(), attention=kernel, fp8=fp8)
        self._graphs: dict[Hashable, tuple[torch.cuda.CUDAGraph, Any]] = {}
        self._pool = torch.cuda.graph_pool_handle()
        self._static: dict[str, list[Tensor]] = {}

    def stage_text(self, text: Text) -> Text:
        flat = self._static_input("text", [tensor for pair in text for tensor in pair])
        return list(zip(flat[::2], flat[1::2], strict=True))

    def stage_rope(self, rope: RopeTable) -> Any:
        return tuple(self._static_input("rope", super().stage_rope(rope)))

    def flow(self, latents: Tensor, time: Tensor, text: Text, rope: Any) -> Tensor:
        latents, time = self._static_input("inputs", (latents, time))
        run = super().flow
        return self._run("flow", lambda: run(latents, time, text, rope)).clone()

    def write(self, latents: Tensor, time: Tensor, text: Text, rope: Any) -> None:
        latents, time = self._static_input("inputs", (latents, time))
        run = super().write
        self._run("write", lambda: run(latents, time, text, rope))

    def close(self) -> None:
        """Free the graphs. NCCL can't end a group while a graph has one of its collectives, and waits without a limit.

        A replay that waits for a lost rank has no limit either; the process must be ended from outside.
        """
        torch.cuda.synchronize()
        self._graphs.clear()

    def _static_input(self, name: str, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Copy the values to the static tensors of this name, which the first call allocates."""
        if name not in self._static:
            self._static[name] = [tensor.clone() for tensor in tensors]
        for static, tensor in zip(self._static[name], tensors, strict=True):
            static.copy_(tensor)
        return self._static[name]

    def _run(self, kind: str, run: Callable[[], Any]) -> Any:
        key = kind, self._cache.position
        if key not in self._graphs:
            if len(self._graphs) == MAX_GRAPHS:
                return run()
            run()  # compiles and selects kernels, which must not happen during a capture
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                out = run()
            self._graphs[key] = graph, out
        graph, out = self._graphs[key]
        graph.replay()
        return out


def fast_runner(model: CausalWanModel, cache: KVCache, fp8: bool) -> EagerRunner:
    """The fastest way through a model, or a rank's part of one, on its device.

    Without a graph, a kernel that the compiler doesn't launch itself costs the host more than it saves the GPU.
    """
    if model.patch_embedding.weight.is_cuda:
        return CudaGraphRunner(model, cache, fp8)
    return CompiledRunner(model, cache, ops=EagerOps(), fp8=fp8)
