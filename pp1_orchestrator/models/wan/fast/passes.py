"""Passes through a model whose blocks' halves are fused and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from pp1_orchestrator.models.wan.dit import CausalWanModel
from pp1_orchestrator.models.wan.fast.attention import PartedAttention, join_parts
from pp1_orchestrator.models.wan.fast.block import FastBlock, RealTable, real_table
from pp1_orchestrator.models.wan.fast.captured import CapturedPasses
from pp1_orchestrator.models.wan.fast.fp8 import narrow_block
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.passes import Passes, PlainPasses
from pp1_orchestrator.models.wan.rope import RopeTable

TUNED = {"coordinate_descent_tuning": True}


class CompiledPasses(PlainPasses):
    """Takes the model's blocks over, for good. Compiles at the first pass; blocks are alike, so that costs as one does.

    backend: torch.compile's.
    """

    def __init__(self, model: CausalWanModel, cache: KVCache, *, fp8: bool = False, backend: str = "inductor") -> None:
        super().__init__(model, cache)
        device = model.patch_embedding.weight.device
        on_gpu = device.type == "cuda"
        options: Any = TUNED if on_gpu and backend == "inductor" else None

        def compiled(function: Callable[..., Any]) -> Any:
            return torch.compile(function, fullgraph=True, dynamic=False, backend=backend, options=options)

        for block in model.block_list():
            fast = FastBlock(block)
            if fp8:
                narrow_block(fast)
            whole: Any = block
            whole.write_inputs, whole.finish = compiled(fast.write_inputs), compiled(block.finish)
        if on_gpu:
            cache.attention = PartedAttention(device, compiled(join_parts))

    def keep_rope(self, rope: RopeTable) -> RealTable:
        return real_table(rope)


def fast_passes(model: CausalWanModel, cache: KVCache, fp8: bool, alone: bool) -> Passes:
    """The fastest way through a model on its device.

    alone: no other rank holds a part of it. Sums over ranks are not captured: graphs of them have not been seen to end.
    """
    passes = CompiledPasses(model, cache, fp8=fp8)
    on_gpu = model.patch_embedding.weight.device.type == "cuda"
    return CapturedPasses(passes, cache) if on_gpu and alone else passes
