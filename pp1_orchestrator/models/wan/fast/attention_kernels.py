"""The fastest attention kernel that a CUDA device and the installed packages offer. Chosen by capability alone.

Shapes: P parts, S queries, K keys, H heads, D head size.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata

import torch
from torch import Tensor

AttentionKernel = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""q [P, S, H, D] over k, v [P, K, H, D] -> [P, H, S, D], and the log-sum-exps of the scores, [P, H, S, 1]."""
FLASH, NONE = "flash-attn-4", "none"
FLASH_GENERATIONS = (9, 10)  # of GPUs, as torch's compute capabilities: Hopper, Blackwell


def flash_version() -> str:
    """Of the package, which all ranks must have or none: results differ in their last bits."""
    try:
        return metadata.version(FLASH)
    except metadata.PackageNotFoundError:
        return NONE


def attention_kernel(device: torch.device) -> AttentionKernel:
    """FlashAttention-4's where its package is installed and knows the device, else cuDNN's.

    Raises ImportError where the package is there and can't be loaded.
    """
    generation, _ = torch.cuda.get_device_capability(device)
    return _flash_kernel() if flash_version() != NONE and generation in FLASH_GENERATIONS else cudnn


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
