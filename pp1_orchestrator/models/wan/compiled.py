"""Passes through a model whose blocks are fused and compiled.

Fused: q and k from one product, v's product written into the cache, norms and rotation in one kernel, and the
activation inside the product before it. A block is compiled in halves: between them lies the attention to the history,
whose sizes change while the window fills. Of a rank's part of a block, the sums over the mesh are compiled, too.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from pp1_orchestrator.models.wan.attention import FusedRMSNorm, FusedSelfAttention, SelfAttention
from pp1_orchestrator.models.wan.fp8 import quantize_block
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.model import Block, CausalWanModel
from pp1_orchestrator.models.wan.ops.linear import GeluLinear
from pp1_orchestrator.models.wan.ops.norms import EagerOps
from pp1_orchestrator.models.wan.ops.split_kv_attention import AttentionKernel, SplitKVAttention, merge_splits
from pp1_orchestrator.models.wan.rope import RopeCosSin, RopeTable, rope_cos_sin
from pp1_orchestrator.models.wan.runner import EagerRunner

HALVES = ("pre_norm", "write_inputs", "finish_and_norm", "finish")
"""The methods of a block that are compiled."""


def fuse_block(block: Block, ops: EagerOps) -> None:
    """Replace a block's layers by fused ones, in place. Layers that are no longer needed are freed."""
    assert isinstance(block.self_attn, SelfAttention)
    up, _, down = block.ffn
    block.self_attn = FusedSelfAttention(block.self_attn)
    block.cross_attn.norm_q = FusedRMSNorm(block.cross_attn.norm_q)
    block.ffn = nn.Sequential(GeluLinear(up), down)
    block.ops = ops


class CompiledRunner(EagerRunner):
    """Fuses the model's blocks, for good, and compiles them at the first pass. Blocks are alike, so one is compiled.

    ops: what lies between products, unless fp8 quantizes them. attention: the history's kernel; None for torch's.
    """

    def __init__(
        self,
        model: CausalWanModel,
        cache: KVCache,
        *,
        ops: EagerOps,
        attention: AttentionKernel | None = None,
        fp8: bool = False,
        backend: str = "inductor",
    ) -> None:
        super().__init__(model, cache)

        def compiled(function: Callable[..., Any]) -> Any:
            return torch.compile(  # pyright: ignore[reportUnknownMemberType]
                function, fullgraph=True, dynamic=False, backend=backend
            )

        for block in model.block_list():
            fuse_block(block, ops)
            if fp8:
                quantize_block(block)
            for name in HALVES:
                setattr(block, name, compiled(getattr(block, name)))
        if attention is not None:
            cache.attention = SplitKVAttention(model.patch_embedding.weight.device, attention, compiled(merge_splits))

    def convert_rope(self, rope: RopeTable) -> RopeCosSin:
        return rope_cos_sin(rope)
