"""Passes through a model whose blocks' halves are fused and compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pp1_orchestrator.models.wan.cuda_graphs import CudaGraphRunner
from pp1_orchestrator.models.wan.fp8 import quantize_block
from pp1_orchestrator.models.wan.fused_block import FastBlock, KernelSteps, Steps, WideSteps
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.model import CausalWanModel, Modulation
from pp1_orchestrator.models.wan.ops.norms import RopeCosSin, rope_cos_sin
from pp1_orchestrator.models.wan.ops.split_kv_attention import (
    AttentionKernel,
    SplitKVAttention,
    attention_kernel,
    join_parts,
)
from pp1_orchestrator.models.wan.rope import RopeTable
from pp1_orchestrator.models.wan.runner import EagerRunner, ModelRunner, Text


class CompiledPasses(EagerRunner):
    """Takes the model's blocks over, for good.

    Compiles at the first pass; blocks are alike, so that costs as one does. steps: what lies between products, where
    they aren't rounded to 8 bits. attention: to the history, where not by torch's choice. backend: torch.compile's.
    """

    def __init__(
        self,
        model: CausalWanModel,
        cache: KVCache,
        *,
        steps: Steps,
        attention: AttentionKernel | None = None,
        fp8: bool = False,
        backend: str = "inductor",
    ) -> None:
        super().__init__(model, cache)

        def compiled(function: Callable[..., Any]) -> Any:
            return torch.compile(function, fullgraph=True, dynamic=False, backend=backend)

        self._blocks = [FastBlock(block, steps) for block in model.block_list()]
        for fast in self._blocks:
            if fp8:
                quantize_block(fast)
            whole: Any = fast
            for name in ("enter", "write_inputs", "pass_on", "finish"):
                setattr(whole, name, compiled(getattr(fast, name)))
        if attention is not None:
            cache.attention = SplitKVAttention(model.patch_embedding.weight.device, attention, compiled(join_parts))

    def keep_rope(self, rope: RopeTable) -> RopeCosSin:
        return rope_cos_sin(rope)

    def flow(self, latents: Tensor, time: Tensor, text: Text, rope: RopeCosSin) -> Tensor:
        """`CausalWanModel.forward`."""
        frames, _, height, width = latents.shape[1:]
        with self._kernels():
            embedded, block_time = self._model.embed_time(time)
            mods = [fast.block.modulate(block_time) for fast in self._blocks]
            x, q = self._to_last(self._model.patchify(latents), mods, text, rope)
            last = len(self._blocks) - 1
            x = self._blocks[last].finish(x, self._cache.attend(last, q), text[last], mods[last])
            return self._model.unpatchify(self._model.head(x, embedded), frames, height, width)

    def write(self, latents: Tensor, time: Tensor, text: Text, rope: RopeCosSin) -> None:
        """`CausalWanModel.write_history`."""
        with self._kernels():
            _, block_time = self._model.embed_time(time)
            mods = [fast.block.modulate(block_time) for fast in self._blocks]
            self._to_last(self._model.patchify(latents), mods, text, rope)

    def _to_last(self, x: Tensor, mods: Sequence[Modulation], text: Text, rope: RopeCosSin) -> tuple[Tensor, Tensor]:
        """Through the blocks until the last one's keys and values are written: x and its q."""
        h = self._blocks[0].enter(x, mods[0])
        for index, fast in enumerate(self._blocks[:-1]):
            q = fast.write_inputs(h, rope, self._cache.slots(index))
            x, h = fast.pass_on(x, self._cache.attend(index, q), text[index], mods[index], mods[index + 1])
        return x, self._blocks[-1].write_inputs(h, rope, self._cache.slots(len(self._blocks) - 1))


def fast_passes(model: CausalWanModel, cache: KVCache, fp8: bool) -> ModelRunner:
    """The fastest way through a model, or a rank's part of one, on its device.

    Without a graph, a kernel that the compiler doesn't launch by itself costs the host more than it saves the GPU.
    """
    weight = model.patch_embedding.weight
    if not weight.is_cuda:
        return CompiledPasses(model, cache, steps=WideSteps(), fp8=fp8)
    kernel = attention_kernel(weight.device, weight.dtype, model.config.head_dim)
    return CudaGraphRunner(CompiledPasses(model, cache, steps=KernelSteps(), attention=kernel, fp8=fp8), cache)
