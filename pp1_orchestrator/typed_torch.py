"""What torch declares without types, or not at all, with its types. Adds nothing to what torch does."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")
_torch: Any = torch
addmm_activation: Callable[..., Tensor] = _torch._addmm_activation
scaled_mm: Callable[..., Tensor] = _torch._scaled_mm


def custom_op(
    name: str, fake: Callable[..., R], mutates_args: tuple[str, ...] = ()
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator that makes a function an operator, which a compiler does not look into.

    fake: takes the same arguments and makes empty results; for fake tensors.
    """

    def register(function: Callable[P, R]) -> Callable[P, R]:
        operator: Any = torch.library.custom_op(name, function, mutates_args=mutates_args)
        operator.register_fake(fake)
        return operator

    return register


def device_properties(device: torch.device) -> Any:
    """As `torch.cuda.get_device_properties`."""
    return _torch.cuda.get_device_properties(device)


def integers(tensor: Any) -> list[int]:
    """Those of a tensor with one dimension."""
    return tensor.tolist()


def vector_norm(x: Tensor, dim: int | tuple[int, ...] | None = None, keepdim: bool = False) -> Tensor:
    """As `torch.linalg.vector_norm`, the 2-norm."""
    return _torch.linalg.vector_norm(x, dim=dim, keepdim=keepdim)
