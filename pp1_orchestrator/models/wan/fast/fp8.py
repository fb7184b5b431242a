"""Matrix products of a fast block with operands of 8 bits: half the bytes of weights, up to twice the rate.

Weights are rounded once, with a scale for each output; inputs each time, with a scale for each token. What depends on
the text alone keeps its type. Sources: the formats, arXiv:2209.05433; scales by row as in torchao's rowwise recipe.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pp1_orchestrator.models.wan.fast.block import FastBlock
from pp1_orchestrator.models.wan.parallelize import RowParallelLinear

F8 = torch.float8_e4m3fn
F8_MAX = torch.finfo(F8).max
LEAST = 1e-12


def to_fp8(rows: Tensor) -> tuple[Tensor, Tensor]:
    """[R, K] -> 8-bit floats of the same shape and what to multiply each row by, [R, 1] float32."""
    wide = rows.float()
    scale = wide.abs().amax(-1, keepdim=True).clamp(min=LEAST) / F8_MAX
    return (wide / scale).to(F8), scale


class Fp8Linear(nn.Module):
    """A linear layer in 8 bits, and what follows it. x [B, S, K] in bfloat16 -> [B, S, N]."""

    weight: Tensor
    scale: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: nn.Module | None = None) -> None:
        super().__init__()
        narrow, scale = to_fp8(weight.detach())
        self.register_buffer("weight", narrow)
        self.register_buffer("scale", scale.t().contiguous())
        self.bias, self._activation = bias, activation or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        narrow, scale = to_fp8(x.flatten(0, -2))
        out = torch._scaled_mm(
            narrow, self.weight.t(), scale, self.scale, bias=self.bias, out_dtype=x.dtype, use_fast_accum=True
        )
        return self._activation(out.unflatten(0, x.shape[:-1]))


class Fp8Into(Fp8Linear):
    """The same, written where it is told to."""

    def forward(self, x: Tensor, out: Tensor) -> None:  # type: ignore[override]
        out.copy_(super().forward(x).view_as(out))


class Fp8RowParallel(nn.Module):
    """A rank's columns of a layer: rounded as they are, without looking at those of the others."""

    def __init__(self, layer: RowParallelLinear) -> None:
        super().__init__()
        self._product, self.bias, self._shard = Fp8Linear(layer.weight, None), layer.bias, layer.shard

    def forward(self, x: Tensor) -> Tensor:
        out = self._shard.all_reduce(self._product(x))
        return out if self.bias is None else out + self.bias


def narrow(layer: nn.Module, kind: type[Fp8Linear] = Fp8Linear, activation: nn.Module | None = None) -> nn.Module:
    """A layer, or a rank's part of one, in 8 bits."""
    if isinstance(layer, RowParallelLinear):
        return Fp8RowParallel(layer)
    return kind(layer.get_parameter("weight"), layer.get_parameter("bias"), activation)


def narrow_block(fast: FastBlock) -> None:
    """Round the block's own weights, in place; the wide ones are let go."""
    attention, cross = fast.block.self_attn, fast.block.cross_attn
    fast.qk, fast.values, attention.o = narrow(fast.qk), narrow(fast.values, Fp8Into), narrow(attention.o)
    del attention.q, attention.k, attention.v
    cross.q, cross.o = narrow(cross.q), narrow(cross.o)
    up, down = fast.block.ffn
    fast.block.ffn = nn.Sequential(narrow(up, activation=nn.GELU(approximate="tanh")), narrow(down))
