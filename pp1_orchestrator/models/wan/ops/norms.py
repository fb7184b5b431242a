"""Norms with the element-wise work next to them: reference maths, and operators that are one CUDA kernel each.

The operators give the same bits at every start; a compiler that times its choices does not promise that for sums.
Shapes: [..., C], rows of width C, contiguous. S tokens, H heads, D head size.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from pp1_orchestrator.models.wan.rope import rope_complex, rotate
from pp1_orchestrator.typed_torch import custom_op

ProductInput = Tensor | tuple[Tensor, Tensor]
"""What a block's matrix products take, [..., C]: rows in the model's type, or `quantize.Fp8Rows`."""


class Affine(NamedTuple):
    """What follows a layer norm: · (scale + scale_offset) + shift. scale and shift have C values each.

    scale_offset: 1 for modulation by the diffusion time, 0 for learned weights.
    """

    scale: Tensor
    shift: Tensor
    scale_offset: float
    eps: float


def layer_norm_ref(x: Tensor, affine: Affine) -> Tensor:
    """Layer norm of rows with its affine, in x's type."""
    scale, shift, offset, eps = affine
    if not offset:
        return layer_norm(x, x.shape[-1:], scale, shift, eps)
    return torch.addcmul(shift, layer_norm(x, x.shape[-1:], eps=eps), scale + offset)


def gated_add_ref(x: Tensor, change: Tensor, gate: Tensor | None) -> Tensor:
    """x + change · gate, in x's type. gate: C values; None for ones."""
    return x + change if gate is None else torch.addcmul(x, change, gate)


def mean_square_ref(x: Tensor) -> Tensor:
    """[..., C] -> [..., 1] float32."""
    return x.float().square().mean(dim=-1, keepdim=True)


def rms_norm_ref(x: Tensor, mean_square: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x by its root mean square, · weight, in float32: the caller rounds it. mean_square: [..., 1] float32."""
    return x.float() * torch.rsqrt(mean_square + eps) * weight


def layer_norm_float(x: Tensor, scale: Tensor, shift: Tensor, scale_offset: float, eps: float) -> Tensor:
    """`layer_norm_ref` in float32, not rounded yet."""
    return layer_norm_ref(x.float(), Affine(scale.float(), shift.float(), scale_offset, eps))


def gated_add_float(x: Tensor, change: Tensor, gate: Tensor | None) -> Tensor:
    """`gated_add_ref` in float32, not rounded yet."""
    return gated_add_ref(x.float(), change.float(), None if gate is None else gate.float())


def empty_as(x: Tensor, *_: object) -> Tensor:
    return torch.empty_like(x)


@custom_op("pp1::layer_norm", empty_as)
def fused_layer_norm(x: Tensor, scale: Tensor, shift: Tensor, scale_offset: float, eps: float) -> Tensor:
    """`layer_norm_ref`, computed in float32 and rounded once."""
    if x.is_cuda:
        # Triton is installed only where there is a GPU.
        from pp1_orchestrator.models.wan.ops import triton_kernels

        out = torch.empty_like(x)
        triton_kernels.layer_norm(x, None, (scale, shift), scale_offset, eps, (out, None))
        return out
    return layer_norm_float(x, scale, shift, scale_offset, eps).to(x.dtype)


@custom_op("pp1::add_layer_norm", lambda *tensors: (empty_as(*tensors), empty_as(*tensors)))
def fused_add_layer_norm(
    x: Tensor, change: Tensor, gate: Tensor | None, scale: Tensor, shift: Tensor, scale_offset: float, eps: float
) -> tuple[Tensor, Tensor]:
    """`gated_add_ref` and the layer norm of its result, each computed in float32 and rounded once."""
    if x.is_cuda:
        from pp1_orchestrator.models.wan.ops import triton_kernels

        total, out = torch.empty_like(x), torch.empty_like(x)
        triton_kernels.layer_norm(x, (change, gate, total), (scale, shift), scale_offset, eps, (out, None))
        return total, out
    total = gated_add_float(x, change, gate).to(x.dtype)
    return total, layer_norm_float(total, scale, shift, scale_offset, eps).to(x.dtype)


def _empty_parts(x: Tensor, parts: int) -> Tensor:
    return x.new_empty(*x.shape[:-1], parts, dtype=torch.float32)


@custom_op("pp1::mean_square", _empty_parts)
def fused_mean_square(x: Tensor, parts: int) -> Tensor:
    """x [..., N·C] -> the mean squares of each of its N equal parts, [..., N] float32."""
    rows = torch.unflatten(x, -1, (parts, -1))
    if x.is_cuda:
        from pp1_orchestrator.models.wan.ops import triton_kernels

        out = rows.new_empty(rows.shape[:-1], dtype=torch.float32)
        triton_kernels.mean_square(rows, out)
        return out
    return mean_square_ref(rows).squeeze(-1)


def _empty_columns(x: Tensor, mean_square: Tensor | None, weight: Tensor, *_: object) -> Tensor:
    return x.new_empty(*x.shape[:-1], len(weight))


@custom_op("pp1::rms_norm", _empty_columns)
def fused_rms_norm(x: Tensor, mean_square: Tensor | None, weight: Tensor, eps: float, start: int) -> Tensor:
    """`rms_norm_ref` of the columns of x [..., C] from `start` on, as many as weight [c] has -> [..., c].

    mean_square: [..., 1] float32; None to take it of the row as it is here.
    """
    if x.is_cuda:
        from pp1_orchestrator.models.wan.ops import triton_kernels

        out = _empty_columns(x, mean_square, weight)
        triton_kernels.rms_norm(x, mean_square, weight, eps, start, out)
        return out
    return _rms_norm_columns(x, mean_square, weight, eps, start).to(x.dtype)


@custom_op("pp1::qk_norm_rope", lambda *tensors: empty_as(tensors[-1]), mutates_args=("keys",))
def qk_norm_rope_(
    qk: Tensor,
    mean_square: Tensor | None,
    q_weight: Tensor,
    k_weight: Tensor,
    cos: Tensor,
    sin: Tensor,
    eps: float,
    start: int,
    keys: Tensor,
) -> Tensor:
    """RMS-normalise and rotate queries and keys: qk [1, S, 2·C] of one product -> q [1, S, H, D].

    The keys are written to `keys` [1, S, H, D]. cos, sin: a `RopeCosSin`. All tensors are contiguous; sums and
    rotation are in float32. mean_square [1, S, 2] of q's and k's rows, and start, as in `fused_rms_norm`.
    The compiler makes two passes over memory of it, the second with its reads in pairs; the kernel makes one.
    """
    if qk.is_cuda:
        from pp1_orchestrator.models.wan.ops import triton_kernels

        out = torch.empty_like(keys)
        triton_kernels.qk_norm_rope(qk, mean_square, (q_weight, k_weight), (cos, sin), eps, start, (out, keys))
        return out
    table = rope_complex((cos, sin))
    means = (None, None) if mean_square is None else torch.split(mean_square, 1, -1)
    rows = zip(qk.chunk(2, -1), means, (q_weight, k_weight), strict=True)
    normed = (_rms_norm_columns(x, mean, weight, eps, start).view(keys.shape) for x, mean, weight in rows)
    q, k = (rotate(x, table).to(keys.dtype) for x in normed)
    keys.copy_(k)
    return q


def _rms_norm_columns(x: Tensor, mean_square: Tensor | None, weight: Tensor, eps: float, start: int) -> Tensor:
    mean = mean_square_ref(x) if mean_square is None else mean_square
    return rms_norm_ref(x.narrow(-1, start, len(weight)), mean, weight, eps)


class EagerOps:
    """What lies between a block's matrix products, in plain torch; a compiler may fuse it."""

    def norm(self, x: Tensor, affine: Affine) -> ProductInput:
        """x [B, S, C] -> the input of the next product."""
        return layer_norm_ref(x, affine)

    def add_norm(self, x: Tensor, change: Tensor, gate: Tensor | None, affine: Affine) -> tuple[Tensor, ProductInput]:
        """x + change · gate, and its norm, the input of the next product."""
        total = gated_add_ref(x, change, gate)
        return total, layer_norm_ref(total, affine)


class TritonOps(EagerOps):
    """One kernel for each step."""

    def norm(self, x: Tensor, affine: Affine) -> Tensor:
        return fused_layer_norm(x, *affine)

    def add_norm(self, x: Tensor, change: Tensor, gate: Tensor | None, affine: Affine) -> tuple[Tensor, Tensor]:
        return fused_add_layer_norm(x, change, gate, *affine)
