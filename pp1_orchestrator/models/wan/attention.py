"""Self- and cross-attention of a Wan block. Shapes: B batch, S tokens, L text tokens, H heads, D head size.

q and k are RMS-normalised over all heads together, before they are split. The mean of squares is a module of its own,
so that a tensor-parallel copy can take it over the whole width without a change here.

Attention over two groups of keys, one of which weighs less: exact, without a mask and without padding.

Adding ln(bias) to the scores of a group multiplies its share of the softmax by bias. So each group is attended to by
itself, by a kernel that also returns the log-sum-exp of its scores, and the two results are joined by those sums.
Knows nothing of caches or frames. Shapes: B batch, S queries, K keys, H heads, D head size.
Source: the joining rule of blockwise attention, as in FlashAttention (arXiv:2205.14135).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.backends.cuda import SDPAParams, can_use_efficient_attention, can_use_flash_attention
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from pp1_orchestrator.models.wan.rope import RopeTable, rotate

KeyValue = tuple[Tensor, Tensor]
_FASTEST_FIRST = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]


def preferred_kernels(device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """A context for passes: on CUDA the first of these kernels that can do the job. cuDNN's is the fastest at Wan's
    shapes on Hopper, and not torch's first choice."""
    if device.type != "cuda":
        return nullcontext
    return partial(sdpa_kernel, _FASTEST_FIRST, set_priority=True)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """q [B, S, H, D] over k, v [B, K, H, D] -> [B, S, C], before the output projection."""
    out = scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return out.transpose(1, 2).flatten(2)


class MeanSquare(nn.Module):
    """Mean of squares over the last dimension, of one or more tensors at once: [..., C] -> [..., 1] float32 each."""

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(x.float().square().mean(dim=-1, keepdim=True) for x in tensors)

    def over_ranks(self, means: Tensor) -> Tensor:
        """What is here of some rows has these means, [..., N] float32 -> the whole rows' means."""
        return means


class RMSNorm(nn.Module):
    """Scale x by its root mean square, which the caller supplies, and by a learned weight."""

    start = 0
    """The first column of a row that it keeps; as many as it has weights."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor, mean_square: Tensor) -> Tensor:
        return (x.float() * torch.rsqrt(mean_square + self.eps) * self.weight).to(x.dtype)


class Attention(nn.Module):
    """The projections that both kinds of attention share; parameter names are Wan2.1's."""

    def __init__(self, dim: int, heads: int, eps: float) -> None:
        super().__init__()
        self.head_dim = dim // heads
        self.q: nn.Module = nn.Linear(dim, dim)
        self.k: nn.Module = nn.Linear(dim, dim)
        self.v: nn.Module = nn.Linear(dim, dim)
        self.o: nn.Module = nn.Linear(dim, dim)
        self.norm_q: nn.Module = RMSNorm(dim, eps)
        self.norm_k: nn.Module = RMSNorm(dim, eps)
        self.mean_square = MeanSquare()

    def split_heads(self, x: Tensor) -> Tensor:
        """[B, S, C] -> [B, S, H, D]; H follows from the width, so a shard has fewer heads."""
        return x.unflatten(-1, (-1, self.head_dim))

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """`attend`: it needs no parameters."""
        return attend(q, k, v)


class SelfAttention(Attention):
    """Attention among the video's tokens."""

    def project(self, x: Tensor, rope: RopeTable) -> tuple[Tensor, Tensor, Tensor]:
        """[B, S, C] -> q, k (normalised, rotated) and v, each [B, S, H, D]."""
        q, k = self.q(x), self.k(x)
        q_square, k_square = self.mean_square(q, k)
        q = rotate(self.split_heads(self.norm_q(q, q_square)), rope)
        k = rotate(self.split_heads(self.norm_k(k, k_square)), rope)
        return q, k, self.split_heads(self.v(x))


class CrossAttention(Attention):
    """Attention to the text. Keys and values depend on the prompt alone and are made once per prompt."""

    def text_kv(self, context: Tensor) -> KeyValue:
        """[B, L, C] -> k, v, each [B, L, H, D]."""
        k = self.k(context)
        (square,) = self.mean_square(k)
        return self.split_heads(self.norm_k(k, square)), self.split_heads(self.v(context))

    def forward(self, x: Tensor, text: KeyValue) -> Tensor:
        q = self.q(x)
        (square,) = self.mean_square(q)
        return self.answer(self.norm_q(q, square), text)

    def answer(self, q: Tensor, text: KeyValue) -> Tensor:
        """What follows once q [B, S, C] is normalised."""
        return self.o(self.attend(self.split_heads(q), *text))


_FLASH_MULTIPLE = 8  # head sizes that the flash kernel takes as they are


def biased_attention(q: Tensor, full: KeyValue, weaker: KeyValue, bias: float) -> Tensor:
    """q [B, S, H, D] over keys and values [B, K, H, D] of two groups, neither empty -> [B, S, H·D].

    The scores of `weaker` get ln(bias) added.
    """
    out_full, sum_full = attend_with_sum(q, *full)
    out_weaker, sum_weaker = attend_with_sum(q, *weaker)
    share = torch.sigmoid(sum_weaker + math.log(bias) - sum_full)[..., None]
    joined = torch.lerp(out_full.to(share.dtype), out_weaker.to(share.dtype), share)
    return joined.to(q.dtype).transpose(1, 2).flatten(2)


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
    """The same by a softmax written out, for devices and types without such a kernel."""
    wide = torch.promote_types(q.dtype, torch.float32)
    scores = q.to(wide) @ k.to(wide).transpose(-1, -2) / math.sqrt(q.shape[-1])
    return scores.softmax(-1) @ v.to(wide), scores.logsumexp(-1)
