"""The fastest attention kernel that a CUDA device and the installed packages offer. Chosen by capability alone.

Shapes: P parts, S queries, K keys, H heads, D head size.
"""

from __future__ import annotations

import logging
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
