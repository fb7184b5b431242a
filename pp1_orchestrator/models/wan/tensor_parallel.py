"""Tensor parallelism, applied to a finished transformer from outside.

Column-parallel: q, k, v and the feed-forward's first matrix. Row-parallel: o and its second matrix, whose partial sums
are added over ranks before the bias. The q/k RMSNorm spans all heads, so its mean of squares is taken over ranks too,
q's and k's in one collective. Knows nothing of how a tensor is summed over the mesh.
Source: Megatron-LM, arXiv:1909.08053.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from pp1_orchestrator.models.wan.attention import Attention, MeanSquare, RMSNorm, SelfAttention
from pp1_orchestrator.models.wan.config import check_degree
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.model import CausalWanModel
from pp1_orchestrator.models.wan.runner import EagerRunner


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """parallel=tensor: what is split over ranks besides the heads, v, o and the feed-forward, which always are.

    Splitting qk costs a small collective per attention, splitting cross_attention a small and a large one per block.
    Where a message costs more than the product it saves (small models, slow links), turn them off.
    """

    qk: bool = True
    cross_attention: bool = True

    def parallelize(self, model: CausalWanModel, shard: "Shard") -> CausalWanModel:
        """As `models.wan.parallel_plan.ParallelPlan`."""
        return parallelize(model, shard, self)

    def runner(self, model: CausalWanModel, cache: KVCache, shard: "Shard") -> EagerRunner:
        """As `models.wan.parallel_plan.ParallelPlan`."""
        return EagerRunner(model, cache)


class Shard(Protocol):
    """This rank's place in the mesh, and the mesh's collectives."""

    @property
    def rank(self) -> int: ...

    @property
    def degree(self) -> int: ...

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over the mesh in place, and return it."""
        ...

    def all_to_all(self, send: Sequence[Tensor], receive: Sequence[Tensor]) -> None:
        """In one exchange: `send[i][p]` goes to rank p, and `receive[i][p]` is written with what rank p sends.

        Each tensor is [degree, …], of any strides; all ranks' have the same shapes and types.
        """
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """A rank's place in a mesh that it is not connected to: enough to select its weights, and to compute alone."""

    rank: int
    degree: int

    def all_reduce(self, tensor: Tensor) -> Tensor:
        raise RuntimeError(f"rank {self.rank} of {self.degree} has not met the others")

    def all_to_all(self, send: Sequence[Tensor], receive: Sequence[Tensor]) -> None:
        raise RuntimeError(f"rank {self.rank} of {self.degree} has not met the others")


class ShardedMeanSquare(MeanSquare):
    """Mean of squares over the whole width, of which each rank holds an equal part."""

    def __init__(self, shard: Shard) -> None:
        super().__init__()
        self._shard = shard

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return torch.split(self.over_ranks(torch.cat(super().forward(*tensors), dim=-1)), 1, dim=-1)

    def over_ranks(self, means: Tensor) -> Tensor:
        return self._shard.all_reduce(means) / self._shard.degree


class RowParallelLinear(nn.Module):
    """A slice of a matrix's input columns. Partial products are summed over ranks, then the bias is added once."""

    def __init__(self, weight: Tensor, bias: Tensor, shard: Shard) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)
        self.shard = shard

    def forward(self, x: Tensor) -> Tensor:
        return self.shard.all_reduce(linear(x, self.weight)).add_(self.bias)


class HeadSliceNorm(RMSNorm):
    """Normalises a tensor of full width and keeps this rank's heads, for q and k that every rank computes whole."""

    def __init__(self, norm: RMSNorm, shard: Shard) -> None:
        super().__init__(0, norm.eps)
        self.weight = _slice(norm.weight, 0, shard)
        self.start = shard.rank * len(self.weight)

    def forward(self, x: Tensor, mean_square: Tensor) -> Tensor:
        return super().forward(x.narrow(-1, self.start, len(self.weight)), mean_square)


def _slice(tensor: Tensor, dim: int, shard: Shard) -> nn.Parameter:
    part = tensor.detach().chunk(shard.degree, dim)[shard.rank]
    return nn.Parameter(part.clone(memory_format=torch.contiguous_format), requires_grad=False)


def _column(layer: nn.Module, shard: Shard) -> nn.Linear:
    assert isinstance(layer, nn.Linear)
    out = nn.Linear(layer.in_features, layer.out_features // shard.degree, device="meta")
    out.weight, out.bias = _slice(layer.weight, 0, shard), _slice(layer.bias, 0, shard)
    return out


def _row(layer: nn.Module, shard: Shard) -> RowParallelLinear:
    assert isinstance(layer, nn.Linear)
    return RowParallelLinear(_slice(layer.weight, 1, shard), layer.bias.detach().clone(), shard)


def _shard_attention(attention: Attention, shard: Shard, plan: ShardPlan) -> None:
    attention.v, attention.o = _column(attention.v, shard), _row(attention.o, shard)
    if not plan.qk:
        attention.norm_q = HeadSliceNorm(attention.norm_q, shard)
        attention.norm_k = HeadSliceNorm(attention.norm_k, shard)
        return
    attention.q, attention.k = _column(attention.q, shard), _column(attention.k, shard)
    for norm in (attention.norm_q, attention.norm_k):
        norm.weight = _slice(norm.weight, 0, shard)
    attention.mean_square = ShardedMeanSquare(shard)


def parallelize(model: CausalWanModel, shard: Shard, plan: ShardPlan) -> CausalWanModel:
    """Keep this rank's part of every block, in place. Raises ValueError if the degree does not divide the model."""
    check_degree(model.config, shard.degree)
    if shard.degree == 1:
        return model
    for block in model.block_list():
        assert isinstance(block.self_attn, SelfAttention)
        _shard_attention(block.self_attn, shard, plan)
        if plan.cross_attention:
            _shard_attention(block.cross_attn, shard, plan)
        up, activation, down = block.ffn
        block.ffn = nn.Sequential(_column(up, shard), activation, _row(down, shard))
    return model
