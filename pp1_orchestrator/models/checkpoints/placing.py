"""Puts weights into a module that was built on the meta device, one tensor after the other.

Never holds more than the module itself and one tensor. Knows nothing of files or of what a module computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from pp1_orchestrator.models.checkpoints.files import Shape, Weights


@runtime_checkable
class Takes(Protocol):
    """A module that keeps a weight in a form of its own."""

    def take(self, weight: Tensor) -> None: ...


def shapes_of(module: nn.Module) -> dict[str, Shape]:
    """Every weight's name and shape."""
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def place(
    module: nn.Module, weights: Weights, names: Mapping[str, str], device: torch.device, dtype: torch.dtype
) -> None:
    """Read and set the weights of `names`, from the module's name to the file's, on `device` in `dtype`."""
    for own, stored in names.items():
        parent, _, leaf = own.rpartition(".")
        owner = module.get_submodule(parent)
        tensor = weights.read(stored, device, dtype)
        if isinstance(owner, Takes):
            owner.take(tensor)
        else:
            setattr(owner, leaf, nn.Parameter(tensor, requires_grad=False))
