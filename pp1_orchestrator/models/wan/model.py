"""The causal Wan diffusion transformer: maths only. Parameter names and layout are those of Wan2.1's `WanModel`.

Shapes: B batch, F latent frames, h and w latent height and width, S = F·h/2·w/2 tokens, C width, L text tokens.
The caller's history keeps the keys and values and attends to them; this file does not know how.
Sources: Wan2.1 (arXiv:2503.20314), Self-Forcing (arXiv:2506.08009), AdaLN as in DiT (arXiv:2212.09748).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from pp1_orchestrator.models.wan.attention import CrossAttention, KeyValue, SelfAttention
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.rope import RopeTable

Modulation = tuple[Tensor, ...]


class AttentionCache(Protocol):
    """Keeps every layer's keys and values and attends to them."""

    def slots(self, layer: int) -> KeyValue:
        """Where a layer's new keys and values go, [B, S, H, D] each."""
        ...

    def attend(self, layer: int, q: Tensor) -> Tensor:
        """Attend to all that the new tokens may see, themselves included: [B, S, H, D] -> [B, S, C]."""
        ...


def timestep_embedding(timestep: Tensor, dim: int) -> Tensor:
    """[B] diffusion times in 0…1000 -> [B, dim] float32; cosines first, as in Wan."""
    half = torch.arange(dim // 2, device=timestep.device, dtype=torch.float64)
    angles = timestep.double()[:, None] * 10000.0 ** (-half / (dim // 2))
    return torch.cat([angles.cos(), angles.sin()], dim=-1).float()


def _modulation(count: int, dim: int) -> nn.Parameter:
    """[1, count, dim] to start a training from. Without memory it has no values: to draw them there, torch would load
    its compiler, which takes longer than all else of a rank's start."""
    table = torch.empty(1, count, dim)
    return nn.Parameter(table if table.is_meta else table.normal_(std=dim**-0.5))


class Block(nn.Module):
    """Self-attention, cross-attention and feed-forward, each around a residual stream."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        dim, eps = config.dim, config.eps
        self.norm1 = nn.LayerNorm(dim, eps=eps, elementwise_affine=False)
        self.self_attn = SelfAttention(dim, config.num_heads, eps)
        self.norm3 = nn.LayerNorm(dim, eps=eps)
        self.cross_attn = CrossAttention(dim, config.num_heads, eps)
        self.norm2 = nn.LayerNorm(dim, eps=eps, elementwise_affine=False)
        self.ffn = nn.Sequential(
            nn.Linear(dim, config.ffn_dim), nn.GELU(approximate="tanh"), nn.Linear(config.ffn_dim, dim)
        )
        self.modulation = _modulation(6, dim)

    def modulate(self, time: Tensor) -> Modulation:
        """[B, 6, C] from `CausalWanModel.embed_time` -> six tensors [B, 1, C]: shift, scale, gate, twice."""
        return (self.modulation + time).unsqueeze(2).unbind(1)

    def attention_inputs(self, x: Tensor, mod: Modulation, rope: RopeTable) -> tuple[Tensor, Tensor, Tensor]:
        """[B, S, C] -> q, k, v [B, S, H, D]."""
        return self.self_attn.project(torch.addcmul(mod[0], self.norm1(x), 1 + mod[1]), rope)

    def write_inputs(self, x: Tensor, mod: Modulation, rope: RopeTable, slots: KeyValue) -> Tensor:
        """`attention_inputs` with keys and values written to their slots -> q [B, S, H, D]."""
        q, k, v = self.attention_inputs(x, mod, rope)
        slots[0].copy_(k)
        slots[1].copy_(v)
        return q

    def finish(self, x: Tensor, attended: Tensor, text: KeyValue, mod: Modulation) -> Tensor:
        """Everything after self-attention. x and attended [B, S, C] -> [B, S, C]."""
        x = torch.addcmul(x, self.self_attn.o(attended), mod[2])
        x = x + self.cross_attn(self.norm3(x), text)
        return torch.addcmul(x, self.ffn(torch.addcmul(mod[3], self.norm2(x), 1 + mod[4])), mod[5])


class Head(nn.Module):
    """From tokens to patches."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        patch = config.patch_size[0] * config.patch_size[1] * config.patch_size[2]
        self.norm = nn.LayerNorm(config.dim, eps=config.eps, elementwise_affine=False)
        self.head = nn.Linear(config.dim, patch * config.out_dim)
        self.modulation = _modulation(2, config.dim)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x [B, S, C], time [B, C] -> [B, S, patch·out_dim]."""
        shift, scale = (self.modulation + time[:, None]).unsqueeze(2).unbind(1)
        return self.head(torch.addcmul(shift, self.norm(x), 1 + scale))


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
        """The blocks, typed."""
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
        return time, self.time_projection(time).unflatten(-1, (6, -1))

    def embed_text(self, embeds: Tensor) -> list[KeyValue]:
        """[B, L, text_dim] -> every block's text keys and values. Needed once per prompt."""
        context = self.text_embedding(embeds)
        return [block.cross_attn.text_kv(context) for block in self.block_list()]

    def text_bytes(self) -> int:
        """Of what `embed_text` makes of one prompt."""
        values = (block.cross_attn.v for block in self.block_list())
        weights = (v.weight for v in values if isinstance(v, nn.Linear))
        return sum(2 * self.config.text_len * weight.shape[0] * weight.itemsize for weight in weights)

    def forward(
        self, latents: Tensor, timestep: Tensor, text: Sequence[KeyValue], history: AttentionCache, rope: RopeTable
    ) -> Tensor:
        """Flow of one chunk: [B, F, c, h, w] -> the same shape. Writes the chunk's keys and values to `history`."""
        _, f, _, h, w = latents.shape
        time, block_time = self.embed_time(timestep)
        x = self.patchify(latents)
        for index, block in enumerate(self.block_list()):
            mod = block.modulate(block_time)
            q = block.write_inputs(x, mod, rope, history.slots(index))
            x = block.finish(x, history.attend(index, q), text[index], mod)
        return self.unpatchify(self.head(x, time), f, h, w)

    def write_history(
        self, latents: Tensor, timestep: Tensor, text: Sequence[KeyValue], history: AttentionCache, rope: RopeTable
    ) -> None:
        """Write a chunk's keys and values and nothing else: the last block stops once its own are written."""
        _, block_time = self.embed_time(timestep)
        x = self.patchify(latents)
        blocks = self.block_list()
        for index, block in enumerate(blocks):
            mod = block.modulate(block_time)
            q = block.write_inputs(x, mod, rope, history.slots(index))
            if index + 1 < len(blocks):
                x = block.finish(x, history.attend(index, q), text[index], mod)
