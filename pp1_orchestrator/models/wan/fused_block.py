"""A block's two halves in few kernels: q and k from one product, v straight into the history, an activation in the
product before it. Between the halves lies the attention to the history, whose sizes change while the window fills.

A block may be one rank's part: its sums over the mesh are operations of a half like all others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from pp1_orchestrator.models.wan.attention import Attention, KeyValue, MeanSquare, RMSNorm
from pp1_orchestrator.models.wan.model import Block, Modulation
from pp1_orchestrator.models.wan.ops.linear import GeluLinear, LinearInto
from pp1_orchestrator.models.wan.ops.norms import RopeCosSin, add_norm, mean_squares, norm, qk_norm_rope_, rms


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


@dataclass(frozen=True, slots=True)
class Affine:
    """A layer norm and what follows it: · (scale + plus) + shift, C values each."""

    scale: Tensor
    shift: Tensor
    plus: float
    eps: float

    def parts(self) -> list[Tensor]:
        return [self.scale, self.shift]


class Steps(Protocol):
    """What lies between a block's products. The form of their inputs is for implementation and products to agree on."""

    def norm(self, x: Tensor, affine: Affine) -> Any:
        """x [B, S, C] -> a product's input."""
        ...

    def add_norm(self, x: Tensor, change: Tensor, gate: Tensor | None, affine: Affine) -> tuple[Tensor, Any]:
        """x + change · gate, and a product's input made of it."""
        ...


class WideSteps:
    """Products take a tensor of x's type; the compiler fuses what is here."""

    def norm(self, x: Tensor, affine: Affine) -> Tensor:
        return torch.addcmul(affine.shift, layer_norm(x, x.shape[-1:], eps=affine.eps), affine.scale + affine.plus)

    def add_norm(self, x: Tensor, change: Tensor, gate: Tensor | None, affine: Affine) -> tuple[Tensor, Tensor]:
        total = x + change if gate is None else torch.addcmul(x, change, gate)
        return total, self.norm(total, affine)


class KernelSteps:
    """The same with a kernel of our own for each."""

    def norm(self, x: Tensor, affine: Affine) -> Tensor:
        return norm(x, affine.parts(), affine.plus, affine.eps)

    def add_norm(self, x: Tensor, change: Tensor, gate: Tensor | None, affine: Affine) -> tuple[Tensor, Tensor]:
        return add_norm(x, change, gate, affine.parts(), affine.plus, affine.eps)


def squares_of(attention: Attention, x: Tensor, parts: int) -> Tensor | None:
    """The mean squares of x's parts, each q or k; None where a norm's kernel can take them itself, from a whole row."""
    if type(attention.mean_square) is MeanSquare and type(attention.norm_q) is RMSNorm:
        return None
    return attention.mean_square.over_ranks(mean_squares(x, parts))


class FastBlock(nn.Module):
    """Holds a block and does its work in two halves; its feed-forward is replaced.

    Inputs of the first half, h, are made where the block before ends: one pass over x for both.
    """

    def __init__(self, block: Block, steps: Steps) -> None:
        super().__init__()
        attention, (up, _, down) = block.self_attn, block.ffn
        self.block, self.steps = block, steps
        self.qk: nn.Module = join(attention.q, attention.k)
        self.values: nn.Module = LinearInto(attention.v)
        block.ffn = nn.Sequential(GeluLinear(up), down)

    def enter(self, x: Tensor, mod: Modulation) -> Any:
        """x [B, S, C] -> h, for the first block."""
        return self.steps.norm(x, self._to_self(mod))

    def write_inputs(self, h: Any, rope: RopeCosSin, slots: KeyValue) -> Tensor:
        """Keys and values to their slots -> q [B, S, H, D]."""
        qk = self.qk(h)
        self.values(h, slots[1])
        return self._turn(qk, rope, slots[0])

    def pass_on(
        self, x: Tensor, attended: Tensor, text: KeyValue, mod: Modulation, next_mod: Modulation
    ) -> tuple[Tensor, Any]:
        """What follows self-attention: x [B, S, C] and the next block's h."""
        x, change = self._finish(x, attended, text, mod)
        return self.steps.add_norm(x, change, mod[5], self._to_self(next_mod))

    def finish(self, x: Tensor, attended: Tensor, text: KeyValue, mod: Modulation) -> Tensor:
        """The same for the last block."""
        x, change = self._finish(x, attended, text, mod)
        return torch.addcmul(x, change, mod[5])

    def _finish(self, x: Tensor, attended: Tensor, text: KeyValue, mod: Modulation) -> tuple[Tensor, Tensor]:
        """x after cross-attention, and what the feed-forward makes of it."""
        block, wide = self.block, self.block.norm3
        x, h = self.steps.add_norm(x, block.self_attn.o(attended), mod[2], Affine(wide.weight, wide.bias, 0, wide.eps))
        x, h = self.steps.add_norm(x, self._cross(h, text), None, Affine(mod[4], mod[3], 1, block.norm2.eps))
        return x, block.ffn(h)

    def _to_self(self, mod: Modulation) -> Affine:
        return Affine(mod[1], mod[0], 1, self.block.norm1.eps)

    def _cross(self, h: Any, text: KeyValue) -> Tensor:
        """`CrossAttention`."""
        cross = self.block.cross_attn
        q, q_norm = cross.q(h), cross.norm_q
        assert isinstance(q_norm, RMSNorm)
        return cross.answer(rms(q, squares_of(cross, q, 1), q_norm.weight, q_norm.eps, q_norm.start), text)

    def _turn(self, qk: Tensor, rope: RopeCosSin, keys: Tensor) -> Tensor:
        """Queries and keys [B, S, 2·C] normalised and rotated -> q [B, S, H, D]; the keys into their slot."""
        attention = self.block.self_attn
        q_norm, k_norm = attention.norm_q, attention.norm_k
        assert isinstance(q_norm, RMSNorm)
        assert isinstance(k_norm, RMSNorm)
        squares = squares_of(attention, qk, 2)
        return qk_norm_rope_(qk, squares, q_norm.weight, k_norm.weight, *rope, q_norm.eps, q_norm.start, keys)
