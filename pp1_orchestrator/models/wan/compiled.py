"""Compiles a generator's blocks in place: each block's two halves become one graph, shared by all blocks.

What lies between them, the attention to the cache, stays outside: it writes in place and its sizes change while the
window fills. Applied from outside, after sharding; the model does not know.
"""

from __future__ import annotations

from typing import Any

import torch

from pp1_orchestrator.models.wan.dit import CausalWanModel


def compile_blocks(model: CausalWanModel) -> None:
    """Compile at the first pass. Blocks are alike, so that costs as much as one block."""
    for block in model.block_list():
        whole: Any = block
        whole.attention_inputs = torch.compile(block.attention_inputs, fullgraph=True, dynamic=False)
        whole.finish = torch.compile(block.finish, fullgraph=True, dynamic=False)
