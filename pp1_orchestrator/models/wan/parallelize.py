"""Tensor parallelism, applied to a finished transformer from outside.

Column-parallel: q, k, v and the feed-forward's first matrix; row-parallel: o and its second matrix, whose partial sums
are added over ranks before the bias. The q/k RMSNorm spans all heads, so its mean of squares is taken over ranks too:
q's and k's sums travel in one collective. `all_reduce` sums a tensor over the mesh in place; nothing here knows how.
Source: Megatron-LM, arXiv:1909.08053.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from pp1_orchestrator.models.wan.attention import Attention, MeanSquare
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.dit import CausalWanModel

AllReduce = Callable[[Tensor], Tensor]


class Shard(Protocol):
    """This rank's place in the mesh and how to sum over it."""

    @property
    def rank(self) -> int: ...

    @property
    def degree(self) -> int: ...

    def all_reduce(self, tensor: Tensor) -> Tensor: ...


def check_degree(config: WanConfig, degree: int) -> None:
    """Raise ValueError when `degree` ranks cannot share the heads and the feed-forward evenly."""
    if degree < 1 or config.num_heads % degree or config.ffn_dim % degree:
        fits = [d for d in range(1, config.num_heads + 1) if config.num_heads % d == 0 and config.ffn_dim % d == 0]
        raise ValueError(
            f"{degree} tensor-parallel ranks cannot share {config.num_heads} heads and a feed-forward of "
            f"{config.ffn_dim}; possible: {', '.join(map(str, fits))}"
        )


class ShardedMeanSquare(MeanSquare):
    """Mean of squares over the whole width, of which each rank holds an equal part."""

    def __init__(self, shard: Shard) -> None:
        super().__init__()
        self._shard = shard

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        local = torch.cat(super().forward(*tensors), dim=-1)
        total = self._shard.all_reduce(local) / self._shard.degree
        return tuple(total.split(1, dim=-1))


class RowParallelLinear(nn.Module):
    """A slice of a matrix's input columns; the partial products are summed over ranks, then the bias is added once."""

    def __init__(self, weight: Tensor, bias: Tensor | None, shard: Shard) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self._shard = shard

    def forward(self, x: Tensor) -> Tensor:
        out = self._shard.all_reduce(linear(x, self.weight))
        return out if self.bias is None else out.add_(self.bias)


def _slice(tensor: Tensor, dim: int, shard: Shard) -> Tensor:
    return tensor.detach().chunk(shard.degree, dim)[shard.rank].clone(memory_format=torch.contiguous_format)


def _column(layer: nn.Linear, shard: Shard) -> nn.Linear:
    out = nn.Linear(layer.in_features, layer.out_features // shard.degree, layer.bias is not None, device="meta")
    out.weight = nn.Parameter(_slice(layer.weight, 0, shard), requires_grad=False)
    if layer.bias is not None:
        out.bias = nn.Parameter(_slice(layer.bias, 0, shard), requires_grad=False)
    return out


def _row(layer: nn.Linear, shard: Shard) -> RowParallelLinear:
    bias = None if layer.bias is None else layer.bias.detach().clone()
    return RowParallelLinear(_slice(layer.weight, 1, shard), bias, shard)


def _shard_attention(attention: Attention, shard: Shard) -> None:
    attention.q, attention.k, attention.v = (_column(m, shard) for m in (attention.q, attention.k, attention.v))
    attention.o = _row(attention.o, shard)
    for norm in (attention.norm_q, attention.norm_k):
        norm.weight = nn.Parameter(_slice(norm.weight, 0, shard), requires_grad=False)
    attention.mean_square = ShardedMeanSquare(shard)


def parallelize(model: CausalWanModel, shard: Shard) -> CausalWanModel:
    """Keep this rank's part of every block, in place. Raises ValueError when the degree does not divide the model."""
    check_degree(model.config, shard.degree)
    if shard.degree == 1:
        return model
    for block in model.block_list():
        _shard_attention(block.self_attn, shard)
        _shard_attention(block.cross_attn, shard)
        up, activation, down = block.ffn
        block.ffn = nn.Sequential(_column(up, shard), activation, _row(down, shard))
    return model
