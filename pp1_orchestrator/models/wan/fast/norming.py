"""Norms of rows with what is next to them: on CUDA one pass over memory each.

The same rows give the same bits at every start, which a compiler that times its choices does not promise of sums.
Shapes: [..., C], rows of width C, contiguous.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import layer_norm


def normal(rows: Tensor, affine: Sequence[Tensor], plus: float, eps: float) -> Tensor:
    """The layer norm of float32 rows · (scale + plus) + shift, written out."""
    scale, shift = (part.float() for part in affine)
    return layer_norm(rows, rows.shape[-1:], eps=eps) * (scale + plus) + shift


def summed(x: Tensor, change: Tensor, gate: Tensor | None) -> Tensor:
    """x + change · gate, written out: rounded once."""
    return (x.float() + change.float() * (1 if gate is None else gate.float())).to(x.dtype)


def scaled(x: Tensor, squares: Tensor | None, weight: Tensor, eps: float, start: int) -> Tensor:
    """`rms`, written out: float32."""
    wide = x.float()
    squares = wide.square().mean(-1, keepdim=True) if squares is None else squares
    return wide.narrow(-1, start, len(weight)) * torch.rsqrt(squares + eps) * weight


@torch.library.custom_op("pp1::norm", mutates_args=())
def norm(x: Tensor, affine: Sequence[Tensor], plus: float, eps: float) -> Tensor:
    """x [..., C] -> its layer norm · (scale + plus) + shift. affine: scale and shift, C values each."""
    if x.is_cuda:
        from pp1_orchestrator.models.wan.fast import kernels

        out = torch.empty_like(x)
        kernels.norm(x, None, affine, plus, eps, (out, None))
        return out
    return normal(x.float(), affine, plus, eps).to(x.dtype)


@norm.register_fake
def _(x: Tensor, affine: Sequence[Tensor], plus: float, eps: float) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("pp1::add_norm", mutates_args=())
def add_norm(
    x: Tensor, change: Tensor, gate: Tensor | None, affine: Sequence[Tensor], plus: float, eps: float
) -> tuple[Tensor, Tensor]:
    """x + change · gate [..., C], and that through `norm`. gate: C values, or ones."""
    if x.is_cuda:
        from pp1_orchestrator.models.wan.fast import kernels

        total, out = torch.empty_like(x), torch.empty_like(x)
        kernels.norm(x, (change, gate, total), affine, plus, eps, (out, None))
        return total, out
    total = summed(x, change, gate)
    return total, normal(total.float(), affine, plus, eps).to(x.dtype)


@add_norm.register_fake
def _(
    x: Tensor, change: Tensor, gate: Tensor | None, affine: Sequence[Tensor], plus: float, eps: float
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(x)


@torch.library.custom_op("pp1::mean_squares", mutates_args=())
def mean_squares(x: Tensor, parts: int) -> Tensor:
    """x [..., N·C] -> the means of the squares of each of its N equal parts, [..., N] float32."""
    rows = x.unflatten(-1, (parts, -1))
    if x.is_cuda:
        from pp1_orchestrator.models.wan.fast import kernels

        out = rows.new_empty(rows.shape[:-1], dtype=torch.float32)
        kernels.mean_squares(rows, out)
        return out
    return rows.float().square().mean(-1)


@mean_squares.register_fake
def _(x: Tensor, parts: int) -> Tensor:
    return x.new_empty(*x.shape[:-1], parts, dtype=torch.float32)


@torch.library.custom_op("pp1::rms", mutates_args=())
def rms(x: Tensor, squares: Tensor | None, weight: Tensor, eps: float, start: int) -> Tensor:
    """Columns of x [..., C] from `start` on by the root of the row's mean square, · weight [c] -> [..., c].

    squares [..., 1] float32: those means, where x is not all of its rows.
    """
    if x.is_cuda:
        from pp1_orchestrator.models.wan.fast import kernels

        out = x.new_empty(*x.shape[:-1], len(weight))
        kernels.rms(x, squares, weight, eps, start, out)
        return out
    return scaled(x, squares, weight, eps, start).to(x.dtype)


@rms.register_fake
def _(x: Tensor, squares: Tensor | None, weight: Tensor, eps: float, start: int) -> Tensor:
    return x.new_empty(*x.shape[:-1], len(weight))
