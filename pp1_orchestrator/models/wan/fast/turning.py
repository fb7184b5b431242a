"""Queries and keys normalised, rotated and put in place: one operator, on CUDA one pass over memory.

The compiler makes two passes of it, the second with its reads in pairs; a kernel that holds a token's row needs one.
Shapes: S tokens, C width, H heads, D head size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pp1_orchestrator.models.wan.fast.norming import scaled
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


@torch.library.custom_op("pp1::turn_into", mutates_args=("keys",))
def turn_into(
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
    """qk [1, S, 2·C] of one product; cos, sin [S, 1, D] float32 as in `RealTable` -> q [1, S, H, D].

    `keys` [1, S, H, D], contiguous, takes the keys. All else must be contiguous too. Sums and turns are in float32.
    squares and start as in `norming.rms`, of q's rows and k's: [1, S, 2].
    """
    if qk.is_cuda:
        # Only where there is a GPU is there the compiler of its kernels.
        from pp1_orchestrator.models.wan.fast import kernels

        out = torch.empty_like(keys)
        kernels.turn(qk, squares, (q_weight, k_weight), (cos, sin), eps, start, (out, keys))
        return out
    means = (None, None) if squares is None else squares.split(1, -1)
    rows = zip(qk.chunk(2, -1), means, (q_weight, k_weight), strict=True)
    q, k = (rotate(scaled(x, m, w, eps, start).view(keys.shape), (cos, sin)).to(keys.dtype) for x, m, w in rows)
    keys.copy_(k)
    return q


@turn_into.register_fake
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
