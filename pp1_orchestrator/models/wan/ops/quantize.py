"""Rows quantized to 8-bit floats, with the step before: reference maths, and operators that are one CUDA kernel each.

The compiler reads a row once for its largest value and again to quantize it; a kernel holds it in registers.
Shapes: [..., C], rows of width C, contiguous. Source of the formats: arXiv:2209.05433.
"""

import torch
from torch import Tensor
from torch.nn.functional import gelu

from pp1_orchestrator.models.wan.ops.norms import Affine, EagerOps, empty_as, gated_add_float, layer_norm_float
from pp1_orchestrator.typed_torch import custom_op

FP8 = torch.float8_e4m3fn
FP8_MAX = torch.finfo(FP8).max
MIN_AMAX = 1e-12
"""A row's largest absolute value counts as this at least: a row of zeros has a scale, too."""
Fp8Rows = tuple[Tensor, Tensor]
"""8-bit floats [..., C] and what to multiply each row by, [..., 1] float32."""


def quantize_rowwise_ref(rows: Tensor) -> Fp8Rows:
    """[..., C] of any type, with a scale for each row."""
    wide = rows.float()
    scale = wide.abs().amax(-1, keepdim=True).clamp(min=MIN_AMAX) / FP8_MAX
    return (wide / scale).to(FP8), scale


def _empty_rows(rows: Tensor, *_: object) -> Fp8Rows:
    return torch.empty_like(rows, dtype=FP8), rows.new_empty((*rows.shape[:-1], 1), dtype=torch.float32)


@custom_op("pp1::quantize_rowwise", _empty_rows)
def quantize_rowwise(rows: Tensor, apply_gelu: bool) -> tuple[Tensor, Tensor]:
    """`quantize_rowwise_ref` of rows [..., C], or of their gelu in its tanh form."""
    if rows.is_cuda:
        from pp1_orchestrator.models.wan.ops import triton_kernels

        outs = _empty_rows(rows)
        triton_kernels.quantize_rowwise(rows, apply_gelu, outs, MIN_AMAX)
        return outs
    return quantize_rowwise_ref(gelu(rows.float(), approximate="tanh") if apply_gelu else rows)


@custom_op("pp1::layer_norm_quantize", _empty_rows)
def fused_layer_norm_quantize(
    x: Tensor, scale: Tensor, shift: Tensor, scale_offset: float, eps: float
) -> tuple[Tensor, Tensor]:
    """`norms.fused_layer_norm`, quantized."""
    if x.is_cuda:
        from pp1_orchestrator.models.wan.ops import triton_kernels

        outs = _empty_rows(x)
        triton_kernels.layer_norm(x, None, (scale, shift), scale_offset, eps, outs, MIN_AMAX)
        return outs
    return quantize_rowwise_ref(layer_norm_float(x, scale, shift, scale_offset, eps))


@custom_op("pp1::add_layer_norm_quantize", lambda *tensors: (empty_as(*tensors), *_empty_rows(*tensors)))
def fused_add_layer_norm_quantize(
    x: Tensor, change: Tensor, gate: Tensor | None, scale: Tensor, shift: Tensor, scale_offset: float, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """`norms.fused_add_layer_norm`, its second result quantized."""
    if x.is_cuda:
        from pp1_orchestrator.models.wan.ops import triton_kernels

        total, outs = torch.empty_like(x), _empty_rows(x)
        triton_kernels.layer_norm(x, (change, gate, total), (scale, shift), scale_offset, eps, outs, MIN_AMAX)
        return total, *outs
    total = gated_add_float(x, change, gate).to(x.dtype)
    return total, *quantize_rowwise_ref(layer_norm_float(total, scale, shift, scale_offset, eps))


class Fp8Ops(EagerOps):
    """One kernel for each step; the products' inputs are quantized."""

    def norm(self, x: Tensor, affine: Affine) -> Fp8Rows:
        return fused_layer_norm_quantize(x, *affine)

    def add_norm(self, x: Tensor, change: Tensor, gate: Tensor | None, affine: Affine) -> tuple[Tensor, Fp8Rows]:
        total, *rows = fused_add_layer_norm_quantize(x, change, gate, *affine)
        return total, (rows[0], rows[1])
