"""Small tables as tensors, made once for each device, because CUDA graphs can't capture their creation."""

from functools import cache

import torch
from torch import Tensor


@cache
def _made(values: tuple[float | tuple[float, ...], ...], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device, dtype=torch.float32)


def constant(values: tuple[float | tuple[float, ...], ...], like: Tensor) -> Tensor:
    """`values` as a float32 tensor on the device of `like`. Shared: never write to it."""
    return _made(values, like.device)
