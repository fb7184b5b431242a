"""The causal Wan diffusion transformer: maths only. Parameter names and layout are those of Wan2.1's `WanModel`.

Shapes: B batch, F latent frames, h and w latent height and width, S = F·h/2·w/2 tokens, C width, L text tokens.
The cache keeps the keys and values of past chunks and attends to them; this file does not know how.
Sources: Wan2.1 (arXiv:2503.20314), Self-Forcing (arXiv:2506.08009), AdaLN as in DiT (arXiv:2212.09748).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from pp1_orchestrator.models.wan.attention import CrossAttention, FusedSelfAttention, KeyValue, SelfAttention
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.ops.norms import Affine, EagerOps, ProductInput, gated_add_ref, layer_norm_ref
from pp1_orchestrator.models.wan.rope import Rope, RopeTable

Modulation = tuple[Tensor, ...]
"""Of one block by the diffusion time: shift, scale and gate, for self-attention and then for the feed-forward."""


def timestep_embedding(timestep: Tensor, dim: int) -> Tensor:
    """[B] diffusion times in 0…1000 -> [B, dim] float32; cosines first, as in Wan."""
    half = torch.arange(dim // 2, device=timestep.device, dtype=torch.float64)
    angles = timestep.double()[:, None] * 10000.0 ** (-half / (dim // 2))
    return torch.cat([angles.cos(), angles.sin()], dim=-1).float()


def _modulation(count: int, dim: int) -> nn.Parameter:
    """[1, count, dim], initialised for training. Not on the meta device: torch would load its compiler to draw there,
    which takes longer than the rest of a rank's start."""
    table = torch.empty(1, count, dim)
    return nn.Parameter(table if table.is_meta else table.normal_(std=dim**-0.5))


class Block(nn.Module):
    """Self-attention, cross-attention and feed-forward, each around a residual stream.

    `ops` are the steps between matrix products. `compiled.fuse_block` replaces them and some layers by fused ones;
    `parallelize` replaces layers by a rank's part of them.
    """

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        dim, self.eps = config.dim, config.eps
        self.ops = EagerOps()
        self.self_attn: SelfAttention | FusedSelfAttention = SelfAttention(dim, config.num_heads, self.eps)
        self.norm3 = nn.LayerNorm(dim, eps=self.eps)
        self.cross_attn = CrossAttention(dim, config.num_heads, self.eps)
        self.ffn = nn.Sequential(
            nn.Linear(dim, config.ffn_dim), nn.GELU(approximate="tanh"), nn.Linear(config.ffn_dim, dim)
        )
        self.modulation = _modulation(6, dim)

    def modulate(self, time: Tensor) -> Modulation:
        """[B, 6, C] from `CausalWanModel.embed_time` -> six tensors [B, 1, C]."""
        return (self.modulation + time).unsqueeze(2).unbind(1)

    def pre_norm(self, x: Tensor, mod: Modulation) -> ProductInput:
        """x [B, S, C] -> h, what the products of self-attention take."""
        return self.ops.norm(x, self._pre_affine(mod))

    def attention_inputs(self, x: Tensor, mod: Modulation, rope: RopeTable) -> tuple[Tensor, Tensor, Tensor]:
        """[B, S, C] -> q, k, v [B, S, H, D], of a block that is not fused."""
        assert isinstance(self.self_attn, SelfAttention)
        h = self.pre_norm(x, mod)
        assert isinstance(h, Tensor)
        return self.self_attn.project(h, rope)

    def write_inputs(self, h: Any, rope: Any, slots: KeyValue) -> Tensor:
        """h of `pre_norm` -> q [B, S, H, D]; keys and values are written to `slots`. rope: see `forward`."""
        return self.self_attn.write(h, rope, slots)

    def finish(self, x: Tensor, attended: Tensor, text: KeyValue, mod: Modulation) -> Tensor:
        """Everything after self-attention. x and attended [B, S, C] -> [B, S, C]."""
        x, change = self._after_attention(x, attended, text, mod)
        return gated_add_ref(x, change, mod[5])

    def finish_and_norm(
        self, x: Tensor, attended: Tensor, text: KeyValue, mod: Modulation, next_mod: Modulation
    ) -> tuple[Tensor, ProductInput]:
        """`finish`, and the next block's `pre_norm` of the result: fused ops need one pass over x for both."""
        x, change = self._after_attention(x, attended, text, mod)
        return self.ops.add_norm(x, change, mod[5], self._pre_affine(next_mod))

    def _after_attention(self, x: Tensor, attended: Tensor, text: KeyValue, mod: Modulation) -> tuple[Tensor, Tensor]:
        """x after cross-attention, and the feed-forward's output, which is not added yet."""
        learned = Affine(self.norm3.weight, self.norm3.bias, 0, self.norm3.eps)
        x, h = self.ops.add_norm(x, self.self_attn.o(attended), mod[2], learned)
        x, h = self.ops.add_norm(x, self.cross_attn(h, text), None, Affine(mod[4], mod[3], 1, self.eps))
        return x, self.ffn(h)

    def _pre_affine(self, mod: Modulation) -> Affine:
        return Affine(mod[1], mod[0], 1, self.eps)


class Head(nn.Module):
    """From tokens to patches."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        patch = config.patch_size[0] * config.patch_size[1] * config.patch_size[2]
        self.eps = config.eps
        self.head = nn.Linear(config.dim, patch * config.out_dim)
        self.modulation = _modulation(2, config.dim)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x [B, S, C], time [B, C] -> [B, S, patch·out_dim]."""
        shift, scale = (self.modulation + time[:, None]).unsqueeze(2).unbind(1)
        return self.head(layer_norm_ref(x, Affine(scale, shift, 1, self.eps)))


class CausalWanModel(nn.Module):
    """Predicts the flow (noise − clean) of one chunk from its noisy latents, the text and the history."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        self.config = config
        dim, patch = config.dim, config.patch_size
        self.patch_embedding = nn.Conv3d(config.in_dim, dim, patch, patch)
        self.text_embedding = nn.Sequential(
            nn.Linear(config.text_dim, dim), nn.GELU(approximate="tanh"), nn.Linear(dim, dim)
        )
        self.time_embedding = nn.Sequential(nn.Linear(config.freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.head = Head(config)

    def block_list(self) -> Sequence[Block]:
        """`blocks`, typed."""
        return [block for block in self.blocks if isinstance(block, Block)]

    def patchify(self, latents: Tensor) -> Tensor:
        """[B, F, c, h, w] -> [B, S, C]; a matrix product, since a strided convolution over patches is one."""
        b, f, c, h, w = latents.shape
        patches = latents.view(b, f, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4, 6).reshape(b, -1, c * 4)
        return linear(patches, self.patch_embedding.weight.flatten(1), self.patch_embedding.bias)

    def unpatchify(self, patches: Tensor, frames: int, height: int, width: int) -> Tensor:
        """[B, S, 4·c] -> [B, F, c, h, w]; height and width are latent sizes. Inside a patch: row, column, channel."""
        x = patches.view(patches.shape[0], frames, height // 2, width // 2, 2, 2, -1)
        return x.permute(0, 1, 6, 2, 4, 3, 5).reshape(patches.shape[0], frames, -1, height, width)

    def embed_time(self, timestep: Tensor) -> tuple[Tensor, Tensor]:
        """[B] times in 0…1000 -> [B, C] for the head and [B, 6, C] for the blocks."""
        sinusoid = timestep_embedding(timestep, self.config.freq_dim)
        time = self.time_embedding(sinusoid.to(self.patch_embedding.weight.dtype))
        return time, torch.unflatten(self.time_projection(time), -1, (6, -1))

    def embed_text(self, embeds: Tensor) -> list[KeyValue]:
        """[B, L, text_dim] -> every block's text keys and values. Needed once per prompt."""
        context = self.text_embedding(embeds)
        return [block.cross_attn.text_kv(context) for block in self.block_list()]

    def text_bytes(self) -> int:
        """Bytes of `embed_text` of one prompt."""
        weights = [block.cross_attn.v.get_parameter("weight") for block in self.block_list()]
        return sum(2 * self.config.text_len * weight.shape[0] * weight.itemsize for weight in weights)

    def forward(
        self, latents: Tensor, timestep: Tensor, text: Sequence[KeyValue], cache: KVCache, rope: Rope
    ) -> Tensor:
        """Flow of one chunk: [B, F, c, h, w] -> the same shape. Writes the chunk's keys and values to `cache`.

        rope: a RopeCosSin if the blocks are fused, else a RopeTable.
        """
        frames, _, height, width = latents.shape[1:]
        time, block_time = self.embed_time(timestep)
        x, q, mod = self._to_last_block(latents, block_time, text, cache, rope)
        blocks = self.block_list()
        x = blocks[-1].finish(x, cache.attend(len(blocks) - 1, q), text[-1], mod)
        return self.unpatchify(self.head(x, time), frames, height, width)

    def write_history(
        self, latents: Tensor, timestep: Tensor, text: Sequence[KeyValue], cache: KVCache, rope: Rope
    ) -> None:
        """Only write a chunk's keys and values: the last block stops once its own are written."""
        _, block_time = self.embed_time(timestep)
        self._to_last_block(latents, block_time, text, cache, rope)

    def write_together(
        self,
        chunks: Sequence[Tensor],
        start: int,
        timestep: Tensor,
        text: Sequence[KeyValue],
        cache: KVCache,
        ropes: Any,
    ) -> None:
        """`write_history` of several chunks, the first at latent frame `start`, each of which sees all of them.

        Goes layer by layer through the chunks, so each step has the shapes of one chunk. ropes: one of each chunk.
        """
        _, block_time = self.embed_time(timestep)
        blocks, end = self.block_list(), start + len(chunks) * cache.chunk
        mods = [block.modulate(block_time) for block in blocks]
        rows = [self.patchify(chunk) for chunk in chunks]
        inputs = [blocks[0].pre_norm(x, mods[0]) for x in rows]
        for index, block in enumerate(blocks):
            queries: list[Tensor] = []
            for at, (h, rope) in enumerate(zip(inputs, ropes, strict=True)):
                cache.begin(start + at * cache.chunk, end_frame=end)
                queries.append(block.write_inputs(h, rope, cache.slots(index)))
            if block is blocks[-1]:
                return
            done = [
                block.finish_and_norm(x, cache.attend(index, q), text[index], mods[index], mods[index + 1])
                for x, q in zip(rows, queries, strict=True)
            ]
            rows, inputs = [x for x, _ in done], [h for _, h in done]

    def _to_last_block(
        self, latents: Tensor, block_time: Tensor, text: Sequence[KeyValue], cache: KVCache, rope: Rope
    ) -> tuple[Tensor, Tensor, Modulation]:
        """Run the blocks until the last one's keys and values are written -> x, the last block's q and modulation."""
        blocks = self.block_list()
        mods = [block.modulate(block_time) for block in blocks]
        x = self.patchify(latents)
        h = blocks[0].pre_norm(x, mods[0])
        for index, block in enumerate(blocks[:-1]):
            q = block.write_inputs(h, rope, cache.slots(index))
            del h  # frees its memory for the rest of the block
            x, h = block.finish_and_norm(x, cache.attend(index, q), text[index], mods[index], mods[index + 1])
        return x, blocks[-1].write_inputs(h, rope, cache.slots(len(blocks) - 1)), mods[-1]
