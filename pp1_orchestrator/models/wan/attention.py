"""Self- and cross-attention of a Wan block. Knows nothing of caches or frames.

q and k are RMS-normalised over all heads together, before they are split. The mean of squares is a separate module, so
that a tensor-parallel one can take its place and compute it over the whole width.

Shapes: B batch, S tokens, K keys, L text tokens, H heads, D head size, C = H·D.
Source of the rule that merges attention: FlashAttention, arXiv:2205.14135.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.backends.cuda import SDPAParams, can_use_efficient_attention, can_use_flash_attention
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from pp1_orchestrator.models.wan.ops.linear import LinearOut
from pp1_orchestrator.models.wan.ops.norms import (
    ProductInput,
    fused_mean_square,
    fused_rms_norm,
    mean_square_ref,
    qk_norm_rope_,
    rms_norm_ref,
)
from pp1_orchestrator.models.wan.rope import RopeCosSin, RopeTable, rotate

KeyValue = tuple[Tensor, Tensor]
_FASTEST_FIRST = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]


def preferred_kernels(device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """A context in which attention on CUDA uses the fastest kernel that supports the inputs. cuDNN's is the fastest at
    Wan's shapes on Hopper, but not torch's first choice."""
    if device.type != "cuda":
        return nullcontext
    prefer = cast(Callable[..., AbstractContextManager[object]], sdpa_kernel)
    return partial(prefer, _FASTEST_FIRST, set_priority=True)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """q [B, S, H, D] over k, v [B, K, H, D] -> [B, S, C], before the output projection."""
    out = scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return out.transpose(1, 2).flatten(2)


class MeanSquare(nn.Module):
    """Mean of squares over the last dimension of one or more tensors: [..., C] -> [..., 1] float32 each."""

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(mean_square_ref(x) for x in tensors)

    def over_ranks(self, means: Tensor) -> Tensor:
        """Means of this rank's part of some rows, [..., N] float32 -> those of the whole rows."""
        return means


class RMSNorm(nn.Module):
    """Scale x by its root mean square and by a learned weight."""

    start = 0
    """The first column of a row that is kept; as many are kept as there are weights."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor, mean_square: Tensor) -> Tensor:
        return rms_norm_ref(x, mean_square, self.weight, self.eps).to(x.dtype)

    def normalize(self, x: Tensor, mean_square: MeanSquare) -> Tensor:
        """The same with the mean square that `mean_square` computes."""
        (square,) = mean_square(x)
        return self(x, square)


class FusedRMSNorm(RMSNorm):
    """`normalize` of `norm` in one kernel. Shares the weight."""

    def __init__(self, norm: RMSNorm) -> None:
        super().__init__(0, norm.eps)
        self.weight, self.start, self._whole_rows = norm.weight, norm.start, type(norm) is RMSNorm

    def normalize(self, x: Tensor, mean_square: MeanSquare) -> Tensor:
        squares = _mean_squares(x, 1, mean_square, self._whole_rows)
        return fused_rms_norm(x, squares, self.weight, self.eps, self.start)


def _mean_squares(x: Tensor, parts: int, mean_square: MeanSquare, whole_rows: bool) -> Tensor | None:
    """Mean squares of x's equal parts, [..., parts]; None if the norm's kernel can compute them from the rows it has.

    whole_rows: the norm keeps all columns of a row.
    """
    if type(mean_square) is MeanSquare and whole_rows:
        return None
    return mean_square.over_ranks(fused_mean_square(x, parts))


class Attention(nn.Module):
    """What both kinds of attention share; parameter names are Wan2.1's."""

    def __init__(self, dim: int, heads: int, eps: float) -> None:
        super().__init__()
        self.head_dim = dim // heads
        self.q: nn.Module = nn.Linear(dim, dim)
        self.k: nn.Module = nn.Linear(dim, dim)
        self.v: nn.Module = nn.Linear(dim, dim)
        self.o: nn.Module = nn.Linear(dim, dim)
        self.norm_q = RMSNorm(dim, eps)
        self.norm_k = RMSNorm(dim, eps)
        self.mean_square = MeanSquare()

    def split_heads(self, x: Tensor) -> Tensor:
        """[B, S, C] -> [B, S, H, D]; H follows from the width, so a shard has fewer heads."""
        return torch.unflatten(x, -1, (-1, self.head_dim))


class SelfAttention(Attention):
    """Attention among the video's tokens."""

    def project(self, x: Tensor, rope: RopeTable) -> tuple[Tensor, Tensor, Tensor]:
        """[B, S, C] -> q, k (normalised, rotated) and v, each [B, S, H, D]."""
        q, k = self.q(x), self.k(x)
        q_square, k_square = self.mean_square(q, k)
        q = rotate(self.split_heads(self.norm_q(q, q_square)), rope)
        k = rotate(self.split_heads(self.norm_k(k, k_square)), rope)
        return q, k, self.split_heads(self.v(x))

    def write(self, x: Tensor, rope: RopeTable, slots: KeyValue) -> Tensor:
        """`project` with keys and values written to their slots -> q."""
        q, k, v = self.project(x, rope)
        slots[0].copy_(k)
        slots[1].copy_(v)
        return q


class FusedSelfAttention(nn.Module):
    """`SelfAttention` in fewer passes over memory: one product for q and k, one kernel for their norm and rotation, and
    v's product written to its slot. Takes over the layers of `attention`; can't be trained."""

    def __init__(self, attention: SelfAttention) -> None:
        super().__init__()
        self.qk: nn.Module = _fuse_linears(attention.q, attention.k)
        self.v: nn.Module = LinearOut(attention.v)
        self.o = attention.o
        self.norm_q, self.norm_k, self.mean_square = attention.norm_q, attention.norm_k, attention.mean_square

    def write(self, x: ProductInput, rope: RopeCosSin, slots: KeyValue) -> Tensor:
        """As `SelfAttention.write`."""
        qk = self.qk(x)
        self.v(x, slots[1])
        norm, k_weight = self.norm_q, self.norm_k.weight
        squares = _mean_squares(qk, 2, self.mean_square, type(norm) is RMSNorm)
        return qk_norm_rope_(qk, squares, norm.weight, k_weight, *rope, norm.eps, norm.start, slots[0])


def _fuse_linears(*layers: nn.Module) -> nn.Linear:
    """Linear layers of the same input as one layer, with their outputs side by side."""
    weight, bias = (torch.cat([layer.get_parameter(name) for layer in layers]) for name in ("weight", "bias"))
    fused = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    fused.weight, fused.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)
    return fused


class CrossAttention(Attention):
    """Attention to the text, whose keys and values are computed once per prompt."""

    def text_kv(self, context: Tensor) -> KeyValue:
        """[B, L, C] -> k, v, each [B, L, H, D]."""
        k = self.norm_k.normalize(self.k(context), self.mean_square)
        return self.split_heads(k), self.split_heads(self.v(context))

    def forward(self, x: ProductInput, text: KeyValue) -> Tensor:
        q = self.norm_q.normalize(self.q(x), self.mean_square)
        return self.o(attend(self.split_heads(q), *text))


_FLASH_MULTIPLE = 8  # the flash kernel would pad other head sizes


def biased_attention(q: Tensor, full: KeyValue, biased: KeyValue, bias: float) -> Tensor:
    """q [B, S, H, D] over keys and values [B, K, H, D] of two groups, neither empty -> [B, S, H·D].

    The scores of `biased` get ln(bias) added.
    """
    out_full, log_sum_full = attend_with_sum(q, *full)
    out_biased, log_sum_biased = attend_with_sum(q, *biased)
    share = torch.sigmoid(log_sum_biased + math.log(bias) - log_sum_full)[..., None]
    merged = torch.lerp(out_full.to(share.dtype), out_biased.to(share.dtype), share)
    return merged.to(q.dtype).transpose(1, 2).flatten(2)


def attend_with_sum(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """q, k, v [B, ·, H, D] -> attention [B, H, S, D] and the log-sum-exp of the scores [B, H, S], float32 at least."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    aten = torch.ops.aten
    if q.device.type == "cpu":
        out, log_sum = aten._scaled_dot_product_flash_attention_for_cpu(q, k, v)
        return out, log_sum
    if q.device.type == "cuda":
        params = SDPAParams(q, k, v, None, 0.0, False, False)
        if q.shape[-1] % _FLASH_MULTIPLE == 0 and can_use_flash_attention(params):
            out, log_sum, *_ = aten._scaled_dot_product_flash_attention(q, k, v)
            return out, log_sum
        if can_use_efficient_attention(params):
            out, log_sum, *_ = aten._scaled_dot_product_efficient_attention(q, k, v, None, True)
            return out, log_sum[..., : q.shape[2]]  # the kernel pads the queries
    return softmax_with_sum(q, k, v)


def softmax_with_sum(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """`attend_with_sum` by an explicit softmax, for devices and types without such a kernel."""
    wide = torch.promote_types(q.dtype, torch.float32)
    scores = q.to(wide) @ k.to(wide).transpose(-1, -2) / math.sqrt(q.shape[-1])
    return scores.softmax(-1) @ v.to(wide), scores.logsumexp(-1)
