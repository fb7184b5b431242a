"""Compiles a generator's blocks in place: each block's two halves become one graph, shared by all blocks.

What lies between them, the attention to the cache, stays outside: it writes in place and its sizes change while the
window fills. Applied from outside; the model does not know. Not for blocks that are split over ranks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear

from pp1_orchestrator.models.wan.dit import CausalWanModel


@torch.library.custom_op("pp1::linear_gelu", mutates_args=())
def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """gelu(x·Wᵀ + b), tanh form: x [B, S, C], weight [F, C] -> [B, S, F].

    On CUDA the activation is the matrix product's epilogue, which saves reading and writing [B, S, F] once more. An
    operator of its own, since the compiler would take the two apart again.
    """
    if x.is_cuda:
        out = torch._addmm_activation(bias, x.flatten(0, -2), weight.t(), use_gelu=True)
        return out.unflatten(0, x.shape[:-1])
    return gelu(linear(x, weight, bias), approximate="tanh")


@linear_gelu.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0])


class FusedFeedForward(nn.Module):
    """A block's feed-forward with its activation in the first product. Shares the weights of what it replaces."""

    def __init__(self, ffn: nn.Sequential) -> None:
        super().__init__()
        self.up, _, self.down = ffn

    def forward(self, x: Tensor) -> Tensor:
        return self.down(linear_gelu(x, self.up.weight, self.up.bias))


def compile_blocks(model: CausalWanModel, backend: str = "inductor") -> None:
    """Compiles at the first pass. Blocks are alike, so that costs as much as one block. backend: torch.compile's."""
    for block in model.block_list():
        whole: Any = block
        whole.ffn = FusedFeedForward(block.ffn)
        whole.attention_inputs = torch.compile(block.attention_inputs, fullgraph=True, dynamic=False, backend=backend)
        whole.finish = torch.compile(block.finish, fullgraph=True, dynamic=False, backend=backend)
