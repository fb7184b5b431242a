"""Rows rounded to 8-bit floats, with what comes before rounding: on CUDA one pass over memory each.

The compiler reads a row once for its largest value and again to round it; a kernel that holds it in registers, once.
Shapes: [..., C], rows of width C, contiguous. Source of the formats: arXiv:2209.05433.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import gelu

from pp1_orchestrator.models.wan.ops.norms import normal, summed

F8 = torch.float8_e4m3fn
F8_MAX = torch.finfo(F8).max
MIN_AMAX = 1e-12
Fp8Rows = tuple[Tensor, Tensor]
"""8-bit floats [..., C] and what to multiply each row by, [..., 1] float32."""


def to_fp8(rows: Tensor) -> Fp8Rows:
    """[..., C] rounded, without more."""
    wide = rows.float()
    scale = wide.abs().amax(-1, keepdim=True).clamp(min=MIN_AMAX) / F8_MAX
    return (wide / scale).to(F8), scale


@torch.library.custom_op("pp1::rounded", mutates_args=())
def quantize_rowwise(rows: Tensor, activate: bool) -> tuple[Tensor, Tensor]:
    """rows [..., C] -> Rounded; activate: of their gelu, tanh form."""
    if rows.is_cuda:
        from pp1_orchestrator.models.wan.ops import triton_kernels as kernels

        outs = _places(rows)
        kernels.rounded(rows, activate, outs)
        return outs
    return to_fp8(gelu(rows.float(), approximate="tanh") if activate else rows)


@quantize_rowwise.register_fake
def _(rows: Tensor, activate: bool) -> tuple[Tensor, Tensor]:
    return _places(rows)


@torch.library.custom_op("pp1::norm_rounded", mutates_args=())
def norm_rounded(x: Tensor, affine: Sequence[Tensor], plus: float, eps: float) -> tuple[Tensor, Tensor]:
    """`norming.norm`, Rounded."""
    if x.is_cuda:
        from pp1_orchestrator.models.wan.ops import triton_kernels as kernels

        outs = _places(x)
        kernels.norm(x, None, affine, plus, eps, outs)
        return outs
    return to_fp8(normal(x.float(), affine, plus, eps))


@norm_rounded.register_fake
def _(x: Tensor, affine: Sequence[Tensor], plus: float, eps: float) -> tuple[Tensor, Tensor]:
    return _places(x)


@torch.library.custom_op("pp1::add_norm_rounded", mutates_args=())
def add_norm_rounded(
    x: Tensor, change: Tensor, gate: Tensor | None, affine: Sequence[Tensor], plus: float, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """`norming.add_norm`, with its second result Rounded."""
    if x.is_cuda:
        from pp1_orchestrator.models.wan.ops import triton_kernels as kernels

        total, outs = torch.empty_like(x), _places(x)
        kernels.norm(x, (change, gate, total), affine, plus, eps, outs)
        return total, *outs
    total = summed(x, change, gate)
    return total, *to_fp8(normal(total.float(), affine, plus, eps))


@add_norm_rounded.register_fake
def _(
    x: Tensor, change: Tensor, gate: Tensor | None, affine: Sequence[Tensor], plus: float, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(x), *_places(x)


def _places(rows: Tensor) -> Fp8Rows:
    return torch.empty_like(rows, dtype=F8), rows.new_empty((*rows.shape[:-1], 1), dtype=torch.float32)
