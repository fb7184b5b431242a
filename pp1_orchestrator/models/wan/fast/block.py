"""A block's two halves in few kernels: q and k from one product, v straight into the history, an activation in the
product before it. Between the halves lies the attention to the history, whose sizes change while the window fills.

A block may be one rank's part: its sums over the mesh are operations of a half like all others.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pp1_orchestrator.models.wan.attention import KeyValue, RMSNorm
from pp1_orchestrator.models.wan.dit import Block, Modulation
from pp1_orchestrator.models.wan.fast.products import GeluLinear, LinearInto
from pp1_orchestrator.models.wan.rope import RopeTable

RealTable = tuple[Tensor, Tensor]
"""A rotary table without complex numbers, which a compiler can't take apart: [S, 1, D] float32 each."""


def real_table(rope: RopeTable) -> RealTable:
    """The cosine of each pair twice, and its sine with the sign that each of the two takes."""
    cos, sin = rope.real, rope.imag
    return cos.repeat_interleave(2, -1), torch.stack([-sin, sin], -1).flatten(-2)


def rotate(x: Tensor, table: RealTable) -> Tensor:
    """x [B, S, H, D] float32, as `models.wan.rope.rotate` does it."""
    swapped = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    return x * table[0] + swapped * table[1]


def join(first: nn.Module, second: nn.Module) -> nn.Linear:
    """Two linear layers of one input as one; their weights become views of its."""
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    weight, bias = torch.cat([first.weight, second.weight]), torch.cat([first.bias, second.bias])
    joined = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    joined.weight, joined.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)
    for layer, w, b in zip((first, second), joined.weight.chunk(2), joined.bias.chunk(2), strict=True):
        layer.weight, layer.bias = nn.Parameter(w, False), nn.Parameter(b, False)
    return joined


class FastBlock(nn.Module):
    """Holds a block and takes over its `write_inputs`; its feed-forward is replaced."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        attention, (up, _, down) = block.self_attn, block.ffn
        self.block = block
        self.qk: nn.Module = join(attention.q, attention.k)
        self.values: nn.Module = LinearInto(attention.v)
        block.ffn = nn.Sequential(GeluLinear(up), down)

    def write_inputs(self, x: Tensor, mod: Modulation, rope: RealTable, slots: KeyValue) -> Tensor:
        """`Block.write_inputs` with the other form of the rotary table."""
        h = torch.addcmul(mod[0], self.block.norm1(x), 1 + mod[1])
        q, k = self.qk(h).chunk(2, -1)
        self.values(h, slots[1])
        attention = self.block.self_attn
        q_square, k_square = attention.mean_square(q, k)
        slots[0].copy_(self._turned(k, attention.norm_k, k_square, rope))
        return self._turned(q, attention.norm_q, q_square, rope)

    def _turned(self, x: Tensor, norm: nn.Module, mean_square: Tensor, rope: RealTable) -> Tensor:
        """[B, S, C] -> normalised and rotated, [B, S, H, D]; rounded once."""
        assert isinstance(norm, RMSNorm)
        return rotate(self.block.self_attn.split_heads(norm.scaled(x, mean_square)), rope).to(x.dtype)
