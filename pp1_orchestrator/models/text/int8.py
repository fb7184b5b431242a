"""Linear layers with int8 weights and one scale per output row: half the memory of bfloat16.

Activations keep their dtype. Weights are converted to it when they are used. Knows nothing of models.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from pp1_orchestrator.typed_torch import vector_norm

INT8_MAX = 127


class Int8Linear(nn.Module):
    """A linear layer without a bias. error: that of the weights, relative to their norm."""

    def __init__(self, inner: int, out: int, device: torch.device) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out, inner, dtype=torch.int8, device=device), requires_grad=False)
        self.scale = nn.Parameter(torch.empty(out, device=device), requires_grad=False)
        self.error = 0.0

    def quantize(self, weight: Tensor) -> None:
        """Sets the weights to `weight` [out, inner], rounded to nearest."""
        if weight.device.type == "meta":
            self.scale = nn.Parameter(self.scale.to(weight.dtype), requires_grad=False)
            return
        wide = weight.float()
        scale = wide.abs().amax(1).clamp_min_(torch.finfo(torch.float32).tiny) / INT8_MAX
        quantized = (wide / scale[:, None]).round_().to(torch.int8)
        self.weight = nn.Parameter(quantized, requires_grad=False)
        self.scale = nn.Parameter(scale.to(weight.dtype), requires_grad=False)
        norm = vector_norm(wide)
        self.error = float(vector_norm(quantized * self.scale.float()[:, None] - wide) / norm) if norm > 0 else 0.0

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight.to(x.dtype)) * self.scale.to(x.dtype)


def replace_linears(module: nn.Module) -> None:
    """Replaces every linear layer without a bias by an empty `Int8Linear`, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear) and child.bias is None:  # pyright: ignore[reportUnnecessaryComparison]
            setattr(module, name, Int8Linear(child.in_features, child.out_features, child.weight.device))
        else:
            replace_linears(child)


def largest_error(module: nn.Module) -> float:
    """The largest error of all int8 layers; 0 without any."""
    return max((layer.error for layer in module.modules() if isinstance(layer, Int8Linear)), default=0.0)
