"""Norms of rows with what is next to them: on CUDA one pass over memory each.

The same rows give the same bits at every start, which a compiler that times its choices does not promise of sums.
Shapes: [..., C], rows of width C, contiguous.

Queries and keys normalised, rotated and put in place: one operator, on CUDA one pass over memory.

The compiler makes two passes of it, the second with its reads in pairs; a kernel that holds a token's row needs one.
Shapes: S tokens, C width, H heads, D head size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from pp1_orchestrator.models.wan.rope import RopeTable


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
        from pp1_orchestrator.models.wan.ops import triton_kernels as kernels

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
        from pp1_orchestrator.models.wan.ops import triton_kernels as kernels

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
        from pp1_orchestrator.models.wan.ops import triton_kernels as kernels

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
        from pp1_orchestrator.models.wan.ops import triton_kernels as kernels

        out = x.new_empty(*x.shape[:-1], len(weight))
        kernels.rms(x, squares, weight, eps, start, out)
        return out
    return scaled(x, squares, weight, eps, start).to(x.dtype)


@rms.register_fake
def _(x: Tensor, squares: Tensor | None, weight: Tensor, eps: float, start: int) -> Tensor:
    return x.new_empty(*x.shape[:-1], len(weight))


RopeCosSin = tuple[Tensor, Tensor]
"""A rotary table without complex numbers, which a compiler can't take apart: [S, 1, D] float32 each."""


def rope_cos_sin(rope: RopeTable) -> RopeCosSin:
    """The cosine of each pair twice, and its sine with the sign that each of the two takes."""
    cos, sin = rope.real, rope.imag
    return cos.repeat_interleave(2, -1), torch.stack([-sin, sin], -1).flatten(-2)


def rotate(x: Tensor, table: RopeCosSin) -> Tensor:
    """x [B, S, H, D] float32, as `models.wan.rope.rotate` does it."""
    swapped = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    return x * table[0] + swapped * table[1]


@torch.library.custom_op("pp1::turn_into", mutates_args=("keys",))
def qk_norm_rope_(
    qk: Tensor,
    squares: Tensor | None,
    q_weight: Tensor,
    k_weight: Tensor,
    cos: Tensor,
    sin: Tensor,
    eps: float,
    start: int,
    keys: Tensor,
) -> Tensor:
    """qk [1, S, 2·C] of one product; cos, sin [S, 1, D] float32 as in `RopeCosSin` -> q [1, S, H, D].

    `keys` [1, S, H, D], contiguous, takes the keys. All else must be contiguous too. Sums and turns are in float32.
    squares and start as in `norming.rms`, of q's rows and k's: [1, S, 2].
    """
    if qk.is_cuda:
        # Only where there is a GPU is there the compiler of its kernels.
        from pp1_orchestrator.models.wan.ops import triton_kernels as kernels

        out = torch.empty_like(keys)
        kernels.turn(qk, squares, (q_weight, k_weight), (cos, sin), eps, start, (out, keys))
        return out
    means = (None, None) if squares is None else squares.split(1, -1)
    rows = zip(qk.chunk(2, -1), means, (q_weight, k_weight), strict=True)
    q, k = (rotate(scaled(x, m, w, eps, start).view(keys.shape), (cos, sin)).to(keys.dtype) for x, m, w in rows)
    keys.copy_(k)
    return q


@qk_norm_rope_.register_fake
def _(
    qk: Tensor,
    squares: Tensor | None,
    q_weight: Tensor,
    k_weight: Tensor,
    cos: Tensor,
    sin: Tensor,
    eps: float,
    start: int,
    keys: Tensor,
) -> Tensor:
    return torch.empty_like(keys)
