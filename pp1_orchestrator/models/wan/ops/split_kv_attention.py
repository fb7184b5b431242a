"""Attention in parts, so that a GPU is busy to the end.

A kernel works on tiles of queries, a wave of them at a time; a last wave that is mostly empty costs as much as a full
one. Where keys are many, cutting them into parts (as more batch entries) fills the waves better, and the parts'
results are joined by their log-sum-exps. Shapes: B = 1, S queries, K keys, H heads, D head size.
Source: the joining rule of blockwise attention, as in FlashAttention (arXiv:2205.14135).

The fastest attention kernel that a CUDA device and the installed packages offer. Chosen by capability alone.

Shapes: P parts, S queries, K keys, H heads, D head size.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from importlib import metadata

import torch
from torch import Tensor
from torch.backends.cuda import SDPAParams, can_use_cudnn_attention

AttentionKernel = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""q [P, S, H, D] over k, v [P, K, H, D] -> [P, H, S, D], and the log-sum-exps of the scores, [P, H, S, 1]."""
FLASH, NONE = "flash-attn-4", "none"
FLASH_GENERATIONS = (9, 10)  # of GPUs, as torch's compute capabilities: Hopper, Blackwell
FLASH_HEADS = (64, 96, 128)
HALVES = (torch.bfloat16, torch.float16)
TILE = 128  # queries that one tile of either kernel covers
log = logging.getLogger(__name__)


def flash_version() -> str:
    """Of the package, which all ranks must have or none: results differ in their last bits."""
    try:
        return metadata.version(FLASH)
    except metadata.PackageNotFoundError:
        return NONE


def attention_kernel(device: torch.device, dtype: torch.dtype, head_dim: int) -> AttentionKernel | None:
    """FlashAttention-4's where its package is installed and it can do this, else cuDNN's; None where neither can.

    For launches that are replayed: FlashAttention-4's take the host longer than some of them take the device.
    """
    if device.type != "cuda" or dtype not in HALVES:
        return None
    generation, _ = torch.cuda.get_device_capability(device)
    known = generation in FLASH_GENERATIONS and head_dim in FLASH_HEADS
    if known and flash_version() != NONE:
        try:
            return _flash_kernel()
        except ImportError as error:
            log.warning("%s %s is installed and can't be used: %s", FLASH, flash_version(), error)
    return cudnn if _has_cudnn(device, dtype, head_dim) else None


def _has_cudnn(device: torch.device, dtype: torch.dtype, head_dim: int) -> bool:
    q = torch.empty(1, 1, TILE, head_dim, device=device, dtype=dtype)
    return can_use_cudnn_attention(SDPAParams(q, q, q, None, 0.0, False, False))


def _flash_kernel() -> AttentionKernel:
    from flash_attn.cute import flash_attn_func  # type: ignore[import-not-found]

    def flash(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        outs, sums = flash_attn_func(q, k, v, return_lse=True)
        return outs.transpose(1, 2), sums[..., None]

    return flash


def cudnn(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """An AttentionKernel that comes with torch."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    outs, sums, *_ = torch.ops.aten._scaled_dot_product_cudnn_attention(q, k, v, None, True)
    return outs, sums.reshape(*outs.shape[:3], 1)


MOST_PARTS = 4
LEAST_KEYS = 2048  # in a part: joining must stay small beside it
GAIN = 0.08  # of the last wave, below which joining costs more than it gives


def num_splits(queries: int, keys: int, heads: int, processors: int) -> int:
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


class SplitKVAttention:
    """`models.wan.attention.attend` on one CUDA device by one kernel, in as many parts as serve."""

    def __init__(
        self, device: torch.device, kernel: AttentionKernel, join: Callable[[Tensor, Tensor], Tensor] = join_parts
    ) -> None:
        self._processors = torch.cuda.get_device_properties(device).multi_processor_count
        self._kernel, self._join = kernel, join

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        parts = num_splits(q.shape[1], k.shape[1], q.shape[2], self._processors)
        keys, values = (x.unflatten(1, (parts, -1))[0] for x in (k, v))
        outs, sums = self._kernel(q.expand(parts, -1, -1, -1), keys, values)
        return outs.transpose(1, 2).flatten(2) if parts == 1 else self._join(outs, sums)
