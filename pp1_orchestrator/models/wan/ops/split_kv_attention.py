"""Attention on a CUDA device by the fastest kernel there is, over keys split into equal parts.

A kernel works on tiles of queries, one wave of tiles at a time; a last wave that is mostly empty costs as much as a
full one. Where there are many keys, splitting them (as more batch entries) fills the waves better, and the results of
the splits are merged by their log-sum-exps. Shapes: P splits, S queries, K keys, H heads, D head size; B = 1.
Source: the merging rule of blockwise attention, as in FlashAttention (arXiv:2205.14135).
"""

import logging
import math
from collections.abc import Callable
from importlib import metadata

import torch
from torch import Tensor
from torch.backends.cuda import SDPAParams, can_use_cudnn_attention

from pp1_orchestrator.typed_torch import device_properties

AttentionKernel = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""q [P, S, H, D] over k, v [P, K, H, D] -> [P, H, S, D], and the log-sum-exps of the scores, [P, H, S, 1]."""
TILE = 128  # queries in one tile of either kernel
MAX_SPLITS = 4
MIN_SPLIT_KEYS = 2048  # merging must stay cheap beside a split
MIN_WAVE_GAIN = 0.08  # of the last wave; below it, merging costs more than it gains
FLASH, NONE = "flash-attn-4", "none"
FLASH_GENERATIONS = (9, 10)  # GPUs by torch's major compute capability: Hopper, Blackwell
FLASH_HEADS = (64, 96, 128)
HALF_TYPES = (torch.bfloat16, torch.float16)
log = logging.getLogger(__name__)


def num_splits(queries: int, keys: int, heads: int, processors: int) -> int:
    """How many equal parts of the keys fill the waves of tiles best."""
    waves = math.ceil(queries / TILE) * heads / processors

    def filled(splits: int) -> float:
        return waves * splits / math.ceil(waves * splits)

    possible = [n for n in range(2, MAX_SPLITS + 1) if keys % n == 0 and keys // n >= MIN_SPLIT_KEYS]
    return next((n for n in possible if filled(n) >= filled(1) + MIN_WAVE_GAIN), 1)


def merge_splits(outs: Tensor, log_sums: Tensor) -> Tensor:
    """outs [P, H, S, D] and the log-sum-exps of their scores [P, H, S, 1] -> [1, S, H·D]."""
    shares = torch.softmax(log_sums, 0)
    merged = (outs.float() * shares).sum(0)
    return merged.to(outs.dtype).transpose(0, 1).flatten(1)[None]


class SplitKVAttention:
    """`models.wan.attention.attend` on one CUDA device, by one kernel, in as many splits as pay off."""

    def __init__(
        self, device: torch.device, kernel: AttentionKernel, merge: Callable[[Tensor, Tensor], Tensor] = merge_splits
    ) -> None:
        self._processors = device_properties(device).multi_processor_count
        self._kernel, self._merge = kernel, merge

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        splits = num_splits(q.shape[1], k.shape[1], q.shape[2], self._processors)
        keys, values = (torch.unflatten(x, 1, (splits, -1))[0] for x in (k, v))
        outs, log_sums = self._kernel(q.expand(splits, -1, -1, -1), keys, values)
        return outs.transpose(1, 2).flatten(2) if splits == 1 else self._merge(outs, log_sums)


def flash_version() -> str:
    """The installed version, or `NONE`. All ranks must have the same: results differ in their last bits."""
    try:
        return metadata.version(FLASH)
    except metadata.PackageNotFoundError:
        return NONE


def attention_kernel(device: torch.device, dtype: torch.dtype, head_dim: int) -> AttentionKernel | None:
    """FlashAttention-4's if it is installed and supports this, else cuDNN's if that does, else None.

    Meant for CUDA graphs: some launches of FlashAttention-4 take the host longer than they take the device.
    """
    if device.type != "cuda" or dtype not in HALF_TYPES:
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
    from flash_attn.cute import flash_attn_func

    def flash(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        outs, log_sums = flash_attn_func(q, k, v, return_lse=True)
        return outs.transpose(1, 2), log_sums[..., None]

    return flash


def cudnn(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """cuDNN's kernel, which comes with torch."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    outs, log_sums, *_ = torch.ops.aten._scaled_dot_product_cudnn_attention(q, k, v, None, True)
    return outs, log_sums.reshape(*outs.shape[:3], 1)
