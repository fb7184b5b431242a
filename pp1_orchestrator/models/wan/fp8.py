"""Matrix products of a fused block in 8-bit floats: half the bytes of weights, up to twice the rate.

Weights are quantized once, with a scale for each output; inputs at each pass, with a scale for each token. Layers that
depend on the text alone keep their type. Sources: the formats, arXiv:2209.05433; scales as in torchao's rowwise recipe.
"""

import torch
from torch import Tensor, nn

from pp1_orchestrator.models.wan.attention import FusedSelfAttention
from pp1_orchestrator.models.wan.model import Block
from pp1_orchestrator.models.wan.ops.quantize import Fp8Ops, Fp8Rows, quantize_rowwise, quantize_rowwise_ref
from pp1_orchestrator.models.wan.tensor_parallel import RowParallelLinear
from pp1_orchestrator.typed_torch import scaled_mm


@torch.library.custom_op("pp1::fp8_linear_out", mutates_args=("out",))
def fp8_linear_out(x: Tensor, scale: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor, out: Tensor) -> None:
    """`ops.linear.linear_out` in 8 bits: x [S, K] with scale [S, 1], weight [N, K] with weight_scale [1, N]."""
    flat = out.view(-1, weight.shape[0])
    scaled_mm(x, weight.t(), scale, weight_scale, bias, None, out.dtype, True, out=flat)


class Fp8Linear(nn.Module):
    """A linear layer in 8 bits: quantized rows [B, S, K] -> [B, S, N] in the type that the weight had."""

    weight: Tensor
    scale: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        quantized, scale = quantize_rowwise_ref(weight.detach())
        self.register_buffer("weight", quantized)
        self.register_buffer("scale", scale.t().contiguous())
        self.bias, self._dtype = bias, weight.dtype

    def forward(self, x: Fp8Rows) -> Tensor:
        rows, scale = (part.flatten(0, -2) for part in x)
        out = scaled_mm(
            rows, self.weight.t(), scale, self.scale, bias=self.bias, out_dtype=self._dtype, use_fast_accum=True
        )
        return torch.unflatten(out, 0, x[0].shape[:-1])


class Fp8LinearOut(Fp8Linear):
    """The same, written to a given tensor [B, S, H, D]."""

    def forward(self, x: Fp8Rows, out: Tensor) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # the result's place is given
        rows, scale = (part.flatten(0, -2) for part in x)
        assert self.bias is not None
        fp8_linear_out(rows, scale, self.weight, self.scale, self.bias, out)


class QuantizeRowwise(nn.Module):
    """Rows [B, S, K] -> Fp8Rows, of the rows or of their gelu in its tanh form."""

    def __init__(self, apply_gelu: bool) -> None:
        super().__init__()
        self._apply_gelu = apply_gelu

    def forward(self, rows: Tensor) -> Fp8Rows:
        return quantize_rowwise(rows, self._apply_gelu)


class Fp8RowParallelLinear(nn.Module):
    """A rank's columns of a layer, quantized by themselves; rows [B, S, K/ranks] -> [B, S, N], summed over ranks."""

    def __init__(self, layer: RowParallelLinear, *, apply_gelu: bool) -> None:
        super().__init__()
        self._product = nn.Sequential(QuantizeRowwise(apply_gelu), Fp8Linear(layer.weight, None))
        self.bias, self._shard = layer.bias, layer.shard

    def forward(self, x: Tensor) -> Tensor:
        return self._shard.all_reduce(self._product(x)) + self.bias


def quantize_linear(layer: nn.Module, *, apply_gelu: bool = False) -> nn.Module:
    """A layer, or a rank's part of one, in 8 bits, that quantizes its input. apply_gelu: of the input, before."""
    if isinstance(layer, RowParallelLinear):
        return Fp8RowParallelLinear(layer, apply_gelu=apply_gelu)
    return nn.Sequential(QuantizeRowwise(apply_gelu), Fp8Linear(*_parameters(layer)))


def quantize_block(block: Block) -> None:
    """Quantize a fused block's weights in place, and free the wide ones."""
    attention, cross = block.self_attn, block.cross_attn
    assert isinstance(attention, FusedSelfAttention)
    attention.qk, attention.v = Fp8Linear(*_parameters(attention.qk)), Fp8LinearOut(*_parameters(attention.v))
    attention.o, cross.o = quantize_linear(attention.o), quantize_linear(cross.o)
    cross.q = Fp8Linear(*_parameters(cross.q))
    up, down = block.ffn
    block.ffn = nn.Sequential(Fp8Linear(*_parameters(up)), quantize_linear(down, apply_gelu=True))
    block.ops = Fp8Ops()


def _parameters(layer: nn.Module) -> tuple[Tensor, Tensor]:
    return layer.get_parameter("weight"), layer.get_parameter("bias")
