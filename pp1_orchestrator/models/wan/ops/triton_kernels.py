"""The Triton kernels of `norms` and `quantize`, and their launches. Each program holds one row in registers.

The order of a row's sum depends on its width alone, so results do not change from one start to the next.
"""

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

ELEMENTS_PER_WARP = 1024
MIN_WARPS = 4
Pair = tuple[Tensor, Tensor]


@triton.jit
def _read(row: tl.tensor, width: tl.constexpr, block: tl.constexpr) -> tl.tensor:
    """A row in float32, padded with zeros to `block`."""
    column = tl.arange(0, block)
    return tl.load(row + column, mask=column < width, other=0.0).to(tl.float32)


@triton.jit
def _write(row: tl.tensor, values: tl.tensor, width: tl.constexpr, block: tl.constexpr) -> None:
    column = tl.arange(0, block)
    tl.store(row + column, values.to(row.dtype.element_ty), mask=column < width)


@triton.jit
def _read_rms_normed(
    row: tl.tensor,
    square: tl.tensor,
    weight: tl.tensor,
    eps: tl.float32,
    given: tl.constexpr,
    width: tl.constexpr,
    block: tl.constexpr,
) -> tl.tensor:
    """RMS-normalise a row. `given`: read the mean square from `square` instead of computing it."""
    values = _read(row, width, block)
    mean = tl.load(square) if given else tl.sum(values * values) / width
    return values * tl.rsqrt(mean + eps) * _read(weight, width, block)


@triton.jit
def _quantize(
    values: tl.tensor,
    out: tl.tensor,
    scale: tl.tensor,
    width: tl.constexpr,
    fp8_max: tl.constexpr,
    min_amax: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """Store a padded row in 8 bits, and its scale."""
    factor = tl.maximum(tl.max(tl.abs(values)), min_amax) / fp8_max
    tl.store(scale, factor)
    _write(out, values / factor, width, block)


@triton.jit
def _quantize_rowwise(
    rows: tl.tensor,
    out: tl.tensor,
    scale: tl.tensor,
    apply_gelu: tl.constexpr,
    width: tl.constexpr,
    fp8_max: tl.constexpr,
    min_amax: tl.constexpr,
    block: tl.constexpr,
) -> None:
    row = tl.program_id(0).to(tl.int64)
    x = _read(rows + row * width, width, block)
    if apply_gelu:  # x/2 · (1 + tanh u) = x · sigmoid 2u
        x = x * tl.sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x))
    _quantize(x, out + row * width, scale + row, width, fp8_max, min_amax, block)


@triton.jit
def _layer_norm(
    x: tl.tensor,
    change: tl.tensor,
    gate: tl.tensor,
    affine_scale: tl.tensor,
    shift: tl.tensor,
    total: tl.tensor,
    out: tl.tensor,
    scale: tl.tensor,
    scale_offset: tl.float32,
    eps: tl.float32,
    changed: tl.constexpr,
    gated: tl.constexpr,
    quantized: tl.constexpr,
    width: tl.constexpr,
    fp8_max: tl.constexpr,
    min_amax: tl.constexpr,
    block: tl.constexpr,
) -> None:
    row = tl.program_id(0).to(tl.int64)
    values = _read(x + row * width, width, block)
    if changed:
        step = _read(change + row * width, width, block)
        if gated:
            step = step * _read(gate, width, block)
        _write(total + row * width, values + step, width, block)
        values = (values + step).to(total.dtype.element_ty).to(tl.float32)  # normalise the rounded sum, which is kept
    inside = tl.arange(0, block) < width
    values = tl.where(inside, values - tl.sum(values) / width, 0.0)
    values = values * tl.rsqrt(tl.sum(values * values) / width + eps)
    values = values * (_read(affine_scale, width, block) + scale_offset) + _read(shift, width, block)
    if quantized:
        # The padding is still zero: it was multiplied by `scale_offset` and shifted by zero.
        _quantize(values, out + row * width, scale + row, width, fp8_max, min_amax, block)
    else:
        _write(out + row * width, values, width, block)


@triton.jit
def _mean_square(x: tl.tensor, out: tl.tensor, width: tl.constexpr, block: tl.constexpr) -> None:
    row = tl.program_id(0).to(tl.int64)
    values = _read(x + row * width, width, block)
    tl.store(out + row, tl.sum(values * values) / width)


@triton.jit
def _rms_norm(
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
    values = _read_rms_normed(x + row * stride + start, squares + row, weight, eps, given, width, block)
    _write(out + row * width, values, width, block)


@triton.jit
def _norm_rope_row(
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
    values = _read_rms_normed(x, square, weight, eps, given, width, block)
    first, second = tl.split(tl.reshape(values, [block // 2, 2]))
    _write(out, tl.interleave(first * cos - second * sin, second * cos + first * sin), width, block)


@triton.jit
def _qk_norm_rope(
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
    # Both tables hold each pair twice; the second of a pair has the sine with its plain sign.
    offset = token * head + (2 * tl.arange(0, block // 2)) % head
    c, s = tl.load(cos + offset), tl.load(sin + offset + 1)
    row, square = qk + 2 * token * stride + start, squares + 2 * token
    _norm_rope_row(row, square, q_weight, c, s, q_out + token * width, eps, given, width, block)
    _norm_rope_row(row + stride, square + 1, k_weight, c, s, k_out + token * width, eps, given, width, block)


def _launch(kernel: Any, device: torch.device, count: int, arguments: Sequence[Any], width: int, **known: Any) -> None:
    block = triton.next_power_of_2(width)
    warps = max(MIN_WARPS, block // ELEMENTS_PER_WARP)
    with torch.cuda.device(device):
        kernel[(count,)](*arguments, **known, width=width, block=block, num_warps=warps)


def quantize_rowwise(rows: Tensor, apply_gelu: bool, outs: Pair, min_amax: float) -> None:
    """As `quantize.quantize_rowwise`. outs: where the 8-bit floats and the scales go."""
    width = rows.shape[-1]
    known = {"apply_gelu": apply_gelu, "fp8_max": torch.finfo(outs[0].dtype).max, "min_amax": min_amax}
    _launch(_quantize_rowwise, rows.device, rows.numel() // width, (rows, *outs), width, **known)


def layer_norm(
    x: Tensor,
    step: tuple[Tensor, Tensor | None, Tensor] | None,
    affine: Pair,
    scale_offset: float,
    eps: float,
    outs: tuple[Tensor, Tensor | None],
    min_amax: float = 0.0,
) -> None:
    """As `norms.fused_layer_norm` and the operators made of it.

    Args:
        step: what is added to x first, its gate, and where the sum goes.
        affine: scale and shift.
        outs: where the result goes, and its scales if it is quantized.
        min_amax: of a quantized row.
    """
    change, gate, total = step or (x, None, x)
    out, scale = outs
    width = x.shape[-1]
    tensors = x, change, x if gate is None else gate, *affine, total, out, x if scale is None else scale
    known = {"changed": step is not None, "gated": gate is not None, "quantized": scale is not None}
    limits = {"fp8_max": torch.finfo(out.dtype).max, "min_amax": min_amax}
    _launch(_layer_norm, x.device, x.numel() // width, (*tensors, scale_offset, eps), width, **limits, **known)


def mean_square(rows: Tensor, out: Tensor) -> None:
    """As `norms.fused_mean_square`, rows [..., N, C]."""
    width = rows.shape[-1]
    _launch(_mean_square, rows.device, rows.numel() // width, (rows, out), width)


def rms_norm(x: Tensor, squares: Tensor | None, weight: Tensor, eps: float, start: int, out: Tensor) -> None:
    """As `norms.fused_rms_norm`."""
    stride = x.shape[-1]
    tensors = x, x if squares is None else squares, weight, out
    known = {"given": squares is not None, "start": start, "stride": stride}
    _launch(_rms_norm, x.device, x.numel() // stride, (*tensors, eps), out.shape[-1], **known)


def qk_norm_rope(
    qk: Tensor, squares: Tensor | None, weights: Pair, table: Pair, eps: float, start: int, outs: Pair
) -> None:
    """As `norms.qk_norm_rope_`. weights and outs are q's and k's; outs are [1, S, H, D] each."""
    _, tokens, heads, head = outs[0].shape
    tensors = qk, qk if squares is None else squares, *weights, *table, *outs
    known = {"given": squares is not None, "start": start, "stride": qk.shape[-1] // 2, "head": head}
    _launch(_qk_norm_rope, qk.device, tokens, (*tensors, eps), heads * head, **known)
