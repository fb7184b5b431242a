"""Matrix products with something attached: an activation, or a place for the result.

Shapes: x [B, S, K], weight [N, K] -> [B, S, N]. Each is an operator of its own: the compiler would take its two parts
apart, or copy the result.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear


@torch.library.custom_op("pp1::linear_gelu", mutates_args=())
def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """gelu(x·Wᵀ + b), tanh form. On CUDA the activation is the product's epilogue: one pass over the result less."""
    if x.is_cuda:
        out = torch._addmm_activation(bias, x.flatten(0, -2), weight.t(), use_gelu=True)
        return out.unflatten(0, x.shape[:-1])
    return gelu(linear(x, weight, bias), approximate="tanh")


@linear_gelu.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0])


@torch.library.custom_op("pp1::linear_into", mutates_args=("out",))
def linear_into(x: Tensor, weight: Tensor, bias: Tensor, out: Tensor) -> None:
    """x·Wᵀ + b, written to `out` [B, S, H, D] with H·D = N, contiguous: no copy afterwards.

    `out` is taken as it is: a view made in a compiled function keeps the place in memory that it was traced with.
    """
    torch.addmm(bias, x.flatten(0, -2), weight.t(), out=out.view(-1, weight.shape[0]))


class GeluLinear(nn.Module):
    """A linear layer with its activation. Shares the layer's weights, as `LinearInto` does."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.weight, self.bias = layer.get_parameter("weight"), layer.get_parameter("bias")

    def forward(self, x: Tensor) -> Tensor:
        return linear_gelu(x, self.weight, self.bias)


class LinearInto(nn.Module):
    """A linear layer that writes where it is told to."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.weight, self.bias = layer.get_parameter("weight"), layer.get_parameter("bias")

    def forward(self, x: Tensor, out: Tensor) -> None:
        linear_into(x, self.weight, self.bias, out)
