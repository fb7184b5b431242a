"""Attention in parts, so that a GPU is busy to the end.

A kernel works on tiles of queries, a wave of them at a time; a last wave that is mostly empty costs as much as a full
one. Where keys are many, cutting them into parts (as more batch entries) fills the waves better, and the parts'
results are joined by their log-sum-exps. Shapes: B = 1, S queries, K keys, H heads, D head size.
Source: the joining rule of blockwise attention, as in FlashAttention (arXiv:2205.14135).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pp1_orchestrator.models.wan.fast.attention_kernels import TILE, AttentionKernel

MOST_PARTS = 4
LEAST_KEYS = 2048  # in a part: joining must stay small beside it
GAIN = 0.08  # of the last wave, below which joining costs more than it gives


def choose_parts(queries: int, keys: int, heads: int, processors: int) -> int:
    """How many equal parts of the keys fill the waves of tiles best."""
    waves = math.ceil(queries / TILE) * heads / processors

    def filled(parts: int) -> float:
        return waves * parts / math.ceil(waves * parts)

    possible = [p for p in range(2, MOST_PARTS + 1) if keys % p == 0 and keys // p >= LEAST_KEYS]
    return next((p for p in possible if filled(p) >= filled(1) + GAIN), 1)


def join_parts(outs: Tensor, sums: Tensor) -> Tensor:
    """outs [P, H, S, D] and their scores' log-sum-exps [P, H, S, 1] -> [1, S, H·D]."""
    shares = torch.softmax(sums, 0)
    joined = (outs.float() * shares).sum(0)
    return joined.to(outs.dtype).transpose(0, 1).flatten(1)[None]


class PartedAttention:
    """`models.wan.attention.attend` on one CUDA device by one kernel, in as many parts as serve."""

    def __init__(
        self, device: torch.device, kernel: AttentionKernel, join: Callable[[Tensor, Tensor], Tensor] = join_parts
    ) -> None:
        self._processors = torch.cuda.get_device_properties(device).multi_processor_count
        self._kernel, self._join = kernel, join

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        parts = choose_parts(q.shape[1], k.shape[1], q.shape[2], self._processors)
        keys, values = (x.unflatten(1, (parts, -1))[0] for x in (k, v))
        outs, sums = self._kernel(q.expand(parts, -1, -1, -1), keys, values)
        return outs.transpose(1, 2).flatten(2) if parts == 1 else self._join(outs, sums)
