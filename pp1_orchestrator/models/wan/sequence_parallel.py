"""Sequence parallelism, applied to a finished transformer from outside: whole weights, a slice of a chunk's tokens.

All that works on single tokens works on the rank's slice. Self-attention needs all tokens: an all-to-all turns slices
of tokens into slices of heads before it, q, k and v in one exchange, and another one turns them back. So each rank
caches its own heads, as with tensor parallelism. Rows are normalised whole, so nothing is summed over ranks.

A slice of tokens is itself a chunk to the model: T frames of one token, [1, T, c, 2, 2]. The last slice is padded.
Shapes: n ranks, S tokens of a chunk, T = ⌈S/n⌉ tokens of a slice, H heads, D head size, C = H·D.
Source: DeepSpeed-Ulysses, arXiv:2309.14509.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from pp1_orchestrator.models.wan.attention import KeyValue, SelfAttention
from pp1_orchestrator.models.wan.config import check_head_degree
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.model import CausalWanModel
from pp1_orchestrator.models.wan.rope import RopeTable
from pp1_orchestrator.models.wan.runner import EagerRunner
from pp1_orchestrator.models.wan.tensor_parallel import Shard


@dataclass(frozen=True, slots=True)
class SequencePlan:
    """parallel=sequence: each rank keeps all weights and a slice of the tokens."""

    def parallelize(self, model: CausalWanModel, shard: Shard) -> CausalWanModel:
        """As `models.wan.parallel_plan.ParallelPlan`."""
        check_head_degree(model.config, shard.degree)
        if shard.degree == 1:
            return model
        for block in model.block_list():
            assert isinstance(block.self_attn, SelfAttention)
            block.self_attn = TokenSliceAttention(block.self_attn, shard)
        return model

    def runner(self, model: CausalWanModel, cache: KVCache, shard: Shard) -> EagerRunner:
        """As `models.wan.parallel_plan.ParallelPlan`."""
        return EagerRunner(model, cache) if shard.degree == 1 else TokenSliceRunner(model, cache, shard)


class TokenSliceAttention(SelfAttention):
    """Self-attention of a slice of tokens to all tokens. Takes over the layers of `attention`, with their names."""

    def __init__(self, attention: SelfAttention, shard: Shard) -> None:
        nn.Module.__init__(self)
        self.head_dim, self._shard = attention.head_dim, shard
        self.q, self.k, self.v = attention.q, attention.k, attention.v
        self.norm_q, self.norm_k, self.mean_square = attention.norm_q, attention.norm_k, attention.mean_square
        self.o = TokenSliceLinear(attention.o, shard)

    def write(self, x: Tensor, rope: RopeTable, slots: KeyValue) -> Tensor:
        """x [1, T, C] of its tokens -> q [1, S, H/n, D] of its heads; keys and values are written to `slots`."""
        ranks, (tokens, heads) = self._shard.degree, slots[0].shape[1:3]
        send = [torch.unflatten(part[0], 1, (ranks, heads)).transpose(0, 1) for part in self.project(x, rope)]
        padded = ranks * x.shape[1] > tokens
        wide = [send[0].new_empty(ranks, x.shape[1], heads, self.head_dim) for _ in range(3 if padded else 1)]
        kept = [] if padded else [torch.unflatten(slot[0], 0, (ranks, -1)) for slot in slots]
        self._shard.all_to_all(send, wide + kept)
        q, *rest = [part.flatten(0, 1)[None, :tokens] for part in wide]
        for slot, part in zip(slots, rest, strict=False):
            slot.copy_(part)
        return q


class TokenSliceLinear(nn.Module):
    """Attention's output layer: takes the rank's heads of all tokens, and exchanges them for all heads of its tokens.

    Shares the parameters of `layer`.
    """

    def __init__(self, layer: nn.Module, shard: Shard) -> None:
        super().__init__()
        self.weight, self.bias = layer.get_parameter("weight"), layer.get_parameter("bias")
        self._shard = shard

    def forward(self, attended: Tensor) -> Tensor:
        """[1, S, C/n] -> [1, T, C]."""
        send = token_slices(attended, self._shard.degree)[0]
        ranks, tokens, width = send.shape
        heads = send.new_empty(tokens, ranks, width)
        self._shard.all_to_all([send], [heads.transpose(0, 1)])
        return linear(heads.flatten(1)[None], self.weight, self.bias)


class TokenSliceRunner(EagerRunner):
    """Runs passes over this rank's slice of each chunk's tokens."""

    def __init__(self, model: CausalWanModel, cache: KVCache, shard: Shard) -> None:
        super().__init__(model, cache)
        self._shard = shard

    def split(self, latents: Tensor) -> Tensor:
        """[1, F, c, h, w] -> [1, T, c, 2, 2]: the patches of this rank's tokens, each as a frame."""
        batch, frames, channels, height, width = latents.shape
        grid = latents.reshape(batch, frames, channels, height // 2, 2, width // 2, 2).permute(0, 1, 3, 5, 2, 4, 6)
        return self._own(grid.reshape(batch, -1, channels, 2, 2))

    def join(self, part: Tensor, shape: torch.Size) -> Tensor:
        """The inverse on all ranks together: each of them gets the whole chunk, of this shape."""
        batch, frames, channels, height, width = shape
        slices = part.new_empty(self._shard.degree, *part.shape[1:])
        self._shard.all_to_all([part.expand(slices.shape)], [slices])
        tokens = slices.flatten(0, 1)[: frames * (height // 2) * (width // 2)]
        grid = tokens.view(batch, frames, height // 2, width // 2, channels, 2, 2)
        return grid.permute(0, 1, 4, 2, 5, 3, 6).reshape(shape)

    def convert_rope(self, rope: RopeTable) -> RopeTable:
        return self._own(rope[None])[0]

    def _own(self, tokens: Tensor) -> Tensor:
        """This rank's slice of [1, S, …] -> [1, T, …]."""
        return token_slices(tokens, self._shard.degree)[:, self._shard.rank]


def token_slices(tokens: Tensor, ranks: int) -> Tensor:
    """[1, S, …] -> [1, n, T, …]; zeros are appended where S does not divide."""
    missing = -tokens.shape[1] % ranks
    if missing:
        tokens = pad(tokens, (0, 0) * (tokens.dim() - 2) + (0, missing))
    return torch.unflatten(tokens, 1, (ranks, -1))
