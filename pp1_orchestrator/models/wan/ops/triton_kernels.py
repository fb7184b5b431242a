"""The kernels of `norming`, `rounding` and `turning`, in Triton. Each program holds one row in registers.

How rows are summed depends on their width alone, so results do not change from one start to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton  # type: ignore[import-not-found]
import triton.language as tl  # type: ignore[import-not-found]
from torch import Tensor

from pp1_orchestrator.models.wan.ops.quantize import F8_MAX, MIN_AMAX

ELEMENTS_PER_WARP = 1024
LEAST_WARPS = 4
Pair = tuple[Tensor, Tensor]


@triton.jit
def _read(row: tl.tensor, width: tl.constexpr, block: tl.constexpr) -> tl.tensor:
    """A row in float32, zeros behind it."""
    column = tl.arange(0, block)
    return tl.load(row + column, mask=column < width, other=0.0).to(tl.float32)


@triton.jit
def _write(row: tl.tensor, values: tl.tensor, width: tl.constexpr, block: tl.constexpr) -> None:
    column = tl.arange(0, block)
    tl.store(row + column, values.to(row.dtype.element_ty), mask=column < width)


@triton.jit
def _read_scaled(
    row: tl.tensor,
    square: tl.tensor,
    weight: tl.tensor,
    eps: tl.float32,
    given: tl.constexpr,
    width: tl.constexpr,
    block: tl.constexpr,
) -> tl.tensor:
    """A row by its root mean square, · weight; given: the mean of its squares is at `square`."""
    values = _read(row, width, block)
    mean = tl.load(square) if given else tl.sum(values * values) / width
    return values * tl.rsqrt(mean + eps) * _read(weight, width, block)


@triton.jit
def _round(
    values: tl.tensor,
    narrow: tl.tensor,
    scale: tl.tensor,
    width: tl.constexpr,
    most: tl.constexpr,
    least: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """values, zeros behind them, to 8 bits and their scale."""
    factor = tl.maximum(tl.max(tl.abs(values)), least) / most
    tl.store(scale, factor)
    _write(narrow, values / factor, width, block)


@triton.jit
def _rounded(
    rows: tl.tensor,
    narrow: tl.tensor,
    scale: tl.tensor,
    activate: tl.constexpr,
    width: tl.constexpr,
    most: tl.constexpr,
    least: tl.constexpr,
    block: tl.constexpr,
) -> None:
    row = tl.program_id(0).to(tl.int64)
    x = _read(rows + row * width, width, block)
    if activate:  # x/2 · (1 + tanh u) = x · sigmoid 2u
        x = x * tl.sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x))
    _round(x, narrow + row * width, scale + row, width, most, least, block)


@triton.jit
def _norm(
    x: tl.tensor,
    change: tl.tensor,
    gate: tl.tensor,
    factor: tl.tensor,
    shift: tl.tensor,
    total: tl.tensor,
    out: tl.tensor,
    scale: tl.tensor,
    plus: tl.float32,
    eps: tl.float32,
    changed: tl.constexpr,
    gated: tl.constexpr,
    narrowed: tl.constexpr,
    width: tl.constexpr,
    most: tl.constexpr,
    least: tl.constexpr,
    block: tl.constexpr,
) -> None:
    row = tl.program_id(0).to(tl.int64)
    values = _read(x + row * width, width, block)
    if changed:
        step = _read(change + row * width, width, block)
        if gated:
            step = step * _read(gate, width, block)
        _write(total + row * width, values + step, width, block)
        values = (values + step).to(total.dtype.element_ty).to(tl.float32)  # what is kept is what is normalised
    inside = tl.arange(0, block) < width
    values = tl.where(inside, values - tl.sum(values) / width, 0.0)
    values = values * tl.rsqrt(tl.sum(values * values) / width + eps)
    values = values * (_read(factor, width, block) + plus) + _read(shift, width, block)
    if narrowed:
        # Behind the row only `plus` was added to nothing: zeros still.
        _round(values, out + row * width, scale + row, width, most, least, block)
    else:
        _write(out + row * width, values, width, block)


@triton.jit
def _mean_squares(x: tl.tensor, out: tl.tensor, width: tl.constexpr, block: tl.constexpr) -> None:
    row = tl.program_id(0).to(tl.int64)
    values = _read(x + row * width, width, block)
    tl.store(out + row, tl.sum(values * values) / width)


@triton.jit
def _rms(
    x: tl.tensor,
    squares: tl.tensor,
    weight: tl.tensor,
    out: tl.tensor,
    eps: tl.float32,
    given: tl.constexpr,
    start: tl.constexpr,
    stride: tl.constexpr,
    width: tl.constexpr,
    block: tl.constexpr,
) -> None:
    row = tl.program_id(0).to(tl.int64)
    values = _read_scaled(x + row * stride + start, squares + row, weight, eps, given, width, block)
    _write(out + row * width, values, width, block)


@triton.jit
def _turn_row(
    x: tl.tensor,
    square: tl.tensor,
    weight: tl.tensor,
    cos: tl.tensor,
    sin: tl.tensor,
    out: tl.tensor,
    eps: tl.float32,
    given: tl.constexpr,
    width: tl.constexpr,
    block: tl.constexpr,
) -> None:
    values = _read_scaled(x, square, weight, eps, given, width, block)
    first, second = tl.split(tl.reshape(values, [block // 2, 2]))
    _write(out, tl.interleave(first * cos - second * sin, second * cos + first * sin), width, block)


@triton.jit
def _turn(
    qk: tl.tensor,
    squares: tl.tensor,
    q_weight: tl.tensor,
    k_weight: tl.tensor,
    cos: tl.tensor,
    sin: tl.tensor,
    q_out: tl.tensor,
    k_out: tl.tensor,
    eps: tl.float32,
    given: tl.constexpr,
    start: tl.constexpr,
    stride: tl.constexpr,
    head: tl.constexpr,
    width: tl.constexpr,
    block: tl.constexpr,
) -> None:
    token = tl.program_id(0).to(tl.int64)
    # Both tables hold each pair twice; the second of a pair has the sine with its own sign.
    place = token * head + (2 * tl.arange(0, block // 2)) % head
    c, s = tl.load(cos + place), tl.load(sin + place + 1)
    row, square = qk + 2 * token * stride + start, squares + 2 * token
    _turn_row(row, square, q_weight, c, s, q_out + token * width, eps, given, width, block)
    _turn_row(row + stride, square + 1, k_weight, c, s, k_out + token * width, eps, given, width, block)


def _launch(kernel: Any, device: torch.device, count: int, arguments: Sequence[Any], width: int, **known: Any) -> None:
    block = triton.next_power_of_2(width)
    warps = max(LEAST_WARPS, block // ELEMENTS_PER_WARP)
    with torch.cuda.device(device):
        kernel[(count,)](*arguments, **known, width=width, block=block, num_warps=warps)


def rounded(rows: Tensor, activate: bool, outs: Pair) -> None:
    """As `rounding.rounded`; outs: where 8-bit floats and scales go."""
    width = rows.shape[-1]
    _launch(
        _rounded,
        rows.device,
        rows.numel() // width,
        (rows, *outs),
        width,
        activate=activate,
        most=F8_MAX,
        least=MIN_AMAX,
    )


def norm(
    x: Tensor,
    step: tuple[Tensor, Tensor | None, Tensor] | None,
    affine: Sequence[Tensor],
    plus: float,
    eps: float,
    outs: tuple[Tensor, Tensor | None],
) -> None:
    """As `norming.norm` and `rounding.norm_rounded`.

    step: what is added to x, its gate, and where the sum goes. outs: where the result goes, and scales if in 8 bits.
    """
    change, gate, total = step or (x, None, x)
    out, scale = outs
    width = x.shape[-1]
    tensors = x, change, x if gate is None else gate, *affine, total, out, x if scale is None else scale
    known = {"changed": step is not None, "gated": gate is not None, "narrowed": scale is not None}
    _launch(_norm, x.device, x.numel() // width, (*tensors, plus, eps), width, most=F8_MAX, least=MIN_AMAX, **known)


def mean_squares(rows: Tensor, out: Tensor) -> None:
    """As `norming.mean_squares`, rows [..., N, C]."""
    width = rows.shape[-1]
    _launch(_mean_squares, rows.device, rows.numel() // width, (rows, out), width)


def rms(x: Tensor, squares: Tensor | None, weight: Tensor, eps: float, start: int, out: Tensor) -> None:
    """As `norming.rms`."""
    stride = x.shape[-1]
    tensors = x, x if squares is None else squares, weight, out
    known = {"given": squares is not None, "start": start, "stride": stride}
    _launch(_rms, x.device, x.numel() // stride, (*tensors, eps), out.shape[-1], **known)


def turn(qk: Tensor, squares: Tensor | None, weights: Pair, table: Pair, eps: float, start: int, outs: Pair) -> None:
    """As `turning.turn_into`, to q and k: [1, S, H, D] each."""
    _, tokens, heads, head = outs[0].shape
    tensors = qk, qk if squares is None else squares, *weights, *table, *outs
    known = {"given": squares is not None, "start": start, "stride": qk.shape[-1] // 2, "head": head}
    _launch(_turn, qk.device, tokens, (*tensors, eps), heads * head, **known)
