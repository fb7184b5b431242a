"""Matrix products that also apply an activation or write to a given tensor.

Each is one operator, since the compiler would split off the activation or copy the result.
Shapes: x [B, S, K], weight [N, K] -> [B, S, N].
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear

from pp1_orchestrator.typed_torch import addmm_activation, custom_op


def _empty_product(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0])


@custom_op("pp1::linear_gelu", _empty_product)
def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """gelu(x·Wᵀ + b), tanh form. On CUDA the product's epilogue applies it, which saves a pass over the result."""
    if x.is_cuda:
        out = addmm_activation(bias, x.flatten(0, -2), weight.t(), use_gelu=True)
        return torch.unflatten(out, 0, x.shape[:-1])
    return gelu(linear(x, weight, bias), approximate="tanh")


@torch.library.custom_op("pp1::linear_out", mutates_args=("out",))
def linear_out(x: Tensor, weight: Tensor, bias: Tensor, out: Tensor) -> None:
    """x·Wᵀ + b, written to `out` [B, S, H, D] with H·D = N, contiguous.

    The view of `out` is made in here: one made in a compiled function would keep the address it was traced with.
    """
    torch.addmm(bias, x.flatten(0, -2), weight.t(), out=out.view(-1, weight.shape[0]))


class GeluLinear(nn.Module):
    """A linear layer with its activation. Shares the parameters of `layer`."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.weight, self.bias = layer.get_parameter("weight"), layer.get_parameter("bias")

    def forward(self, x: Tensor) -> Tensor:
        return linear_gelu(x, self.weight, self.bias)


class LinearOut(nn.Module):
    """A linear layer that writes to a given tensor. Shares the parameters of `layer`."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.weight, self.bias = layer.get_parameter("weight"), layer.get_parameter("bias")

    def forward(self, x: Tensor, out: Tensor) -> None:
        linear_out(x, self.weight, self.bias, out)
