"""A linear layer whose weights are whole numbers of 8 bits, each row with its own scale: half the memory of bfloat16.

What goes through stays in its own type; a row's weights are widened when they are used. Knows nothing of models.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

LARGEST = 127


class Int8Linear(nn.Module):
    """Without a bias. error: of the weights, relative to their norm, once they are there."""

    def __init__(self, inner: int, out: int, device: torch.device) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out, inner, dtype=torch.int8, device=device), requires_grad=False)
        self.scale = nn.Parameter(torch.empty(out, device=device), requires_grad=False)
        self.error = 0.0

    def take(self, weight: Tensor) -> None:
        """Round `weight` [out, inner] to the nearest that can be kept."""
        if weight.device.type == "meta":
            self.scale = nn.Parameter(self.scale.to(weight.dtype), requires_grad=False)
            return
        wide = weight.float()
        scale = wide.abs().amax(1).clamp_min_(torch.finfo(torch.float32).tiny) / LARGEST
        rounded = (wide / scale[:, None]).round_().to(torch.int8)
        self.weight = nn.Parameter(rounded, requires_grad=False)
        self.scale = nn.Parameter(scale.to(weight.dtype), requires_grad=False)
        norm = wide.norm()
        self.error = float((rounded * self.scale.float()[:, None] - wide).norm() / norm) if norm > 0 else 0.0

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight.to(x.dtype)) * self.scale.to(x.dtype)


def use_int8(module: nn.Module) -> None:
    """Make every linear layer without a bias an empty one of 8 bits, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear) and child.bias is None:
            setattr(module, name, Int8Linear(child.in_features, child.out_features, child.weight.device))
        else:
            use_int8(child)


def largest_error(module: nn.Module) -> float:
    """Of all layers of 8 bits; 0 where there is none."""
    return max((layer.error for layer in module.modules() if isinstance(layer, Int8Linear)), default=0.0)
