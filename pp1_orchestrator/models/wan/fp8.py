"""Matrix products of a fast block with operands of 8 bits: half the bytes of weights, up to twice the rate.

Weights are rounded once, with a scale for each output; inputs each time, with a scale for each token. What depends on
the text alone keeps its type. Sources: the formats, arXiv:2209.05433; scales by row as in torchao's rowwise recipe.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pp1_orchestrator.models.wan.fused_block import Affine, FastBlock
from pp1_orchestrator.models.wan.ops.quantize import Fp8Rows, add_norm_rounded, norm_rounded, quantize_rowwise, to_fp8
from pp1_orchestrator.models.wan.tensor_parallel import RowParallelLinear


@torch.library.custom_op("pp1::scaled_into", mutates_args=("out",))
def scaled_into(x: Tensor, scale: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor, out: Tensor) -> None:
    """A product in 8 bits, written to `out` as `products.linear_into` does."""
    place = out.view(-1, weight.shape[0])
    torch._scaled_mm(x, weight.t(), scale, weight_scale, bias, None, out.dtype, True, out=place)


class Fp8Linear(nn.Module):
    """A linear layer in 8 bits. x [B, S, K] in bfloat16 -> [B, S, N].

    activate: of gelu(x), tanh form; what comes before it did not apply it.
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None, *, activate: bool = False) -> None:
        super().__init__()
        quantize_linear, scale = to_fp8(weight.detach())
        self.register_buffer("weight", quantize_linear)
        self.register_buffer("scale", scale.t().contiguous())
        self.bias, self._activate, self._dtype = bias, activate, weight.dtype

    def forward(self, x: Tensor) -> Tensor:
        return self.product(quantize_rowwise(x, self._activate))

    def product(self, x: Fp8Rows) -> Tensor:
        rows, scale = (part.flatten(0, -2) for part in x)
        out = torch._scaled_mm(
            rows, self.weight.t(), scale, self.scale, bias=self.bias, out_dtype=self._dtype, use_fast_accum=True
        )
        return out.unflatten(0, x[0].shape[:-1])


class Fp8RowsLinear(Fp8Linear):
    """The same of what is rounded already."""

    def forward(self, x: Fp8Rows) -> Tensor:  # type: ignore[override]
        return self.product(x)


class Fp8LinearOut(Fp8Linear):
    """The same, written where it is told to."""

    def forward(self, x: Fp8Rows, out: Tensor) -> None:  # type: ignore[override]
        rows, scale = (part.flatten(0, -2) for part in x)
        assert self.bias is not None
        scaled_into(rows, scale, self.weight, self.scale, self.bias, out)


class Fp8RowParallel(nn.Module):
    """A rank's columns of a layer: rounded as they are, without looking at those of the others."""

    def __init__(self, layer: RowParallelLinear, *, activate: bool) -> None:
        super().__init__()
        self._product, self.bias = Fp8Linear(layer.weight, None, activate=activate), layer.bias
        self._shard = layer.shard

    def forward(self, x: Tensor) -> Tensor:
        out = self._shard.all_reduce(self._product(x))
        return out if self.bias is None else out + self.bias


class Fp8Ops:
    """Implements `block.Steps` for products of what is rounded already."""

    def norm(self, x: Tensor, affine: Affine) -> Fp8Rows:
        return norm_rounded(x, affine.parts(), affine.plus, affine.eps)

    def add_norm(self, x: Tensor, change: Tensor, gate: Tensor | None, affine: Affine) -> tuple[Tensor, Fp8Rows]:
        total, *rows = add_norm_rounded(x, change, gate, affine.parts(), affine.plus, affine.eps)
        return total, (rows[0], rows[1])


def quantize_linear(layer: nn.Module, *, activate: bool = False) -> nn.Module:
    """A layer, or a rank's part of one, in 8 bits."""
    if isinstance(layer, RowParallelLinear):
        return Fp8RowParallel(layer, activate=activate)
    return Fp8Linear(*_parameters(layer), activate=activate)


def quantize_block(fast: FastBlock) -> None:
    """Round the block's own weights, in place; the wide ones are let go."""
    attention, cross = fast.block.self_attn, fast.block.cross_attn
    up, down = fast.block.ffn
    fast.qk, fast.values = Fp8RowsLinear(*_parameters(fast.qk)), Fp8LinearOut(*_parameters(fast.values))
    attention.o, cross.o = quantize_linear(attention.o), quantize_linear(cross.o)
    cross.q = Fp8RowsLinear(*_parameters(cross.q))
    fast.block.ffn = nn.Sequential(Fp8RowsLinear(*_parameters(up)), quantize_linear(down, activate=True))
    fast.steps = Fp8Ops()
    del attention.q, attention.k, attention.v


def _parameters(layer: nn.Module) -> tuple[Tensor, Tensor]:
    return layer.get_parameter("weight"), layer.get_parameter("bias")
