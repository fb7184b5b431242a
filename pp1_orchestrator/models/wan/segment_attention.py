"""Attention over two groups of keys, one of which weighs less: exact, without a mask and without padding.

Adding ln(bias) to the scores of a group multiplies its share of the softmax by bias. So each group is attended to by
itself, by a kernel that also returns the log-sum-exp of its scores, and the two results are joined by those sums.
Knows nothing of caches or frames. Shapes: B batch, S queries, K keys, H heads, D head size.
Source: the joining rule of blockwise attention, as in FlashAttention (arXiv:2205.14135).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.backends.cuda import SDPAParams, can_use_efficient_attention, can_use_flash_attention

from pp1_orchestrator.models.wan.attention import KeyValue

_FLASH_MULTIPLE = 8  # head sizes that the flash kernel takes as they are


def attend_two(q: Tensor, full: KeyValue, weaker: KeyValue, bias: float) -> Tensor:
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
