"""A small generator in float64, and its maths written plainly: all tokens at once, one mask, an explicit softmax."""

import math
from typing import NamedTuple

import msgspec
import torch
from torch import Tensor

from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.generator import CausalGenerator
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.model import CausalWanModel
from pp1_orchestrator.models.wan.rope import rope_table
from pp1_orchestrator.models.wan.schedule import FlowSchedule

CONFIG = WanConfig(
    dim=48, ffn_dim=64, num_heads=2, num_layers=3, text_dim=12, text_len=5, freq_dim=16, local_attn_size=9
)
CHUNK = CONFIG.chunk_frames
SIZE = 4  # latent height and width
FRAME_TOKENS = CONFIG.tokens_per_frame(SIZE, SIZE)


class Chunk(NamedTuple):
    """Latents [1, F, c, h, w] and the diffusion time at which the model sees them."""

    latents: Tensor
    time: float


def assert_same_maths(found: Tensor, wanted: Tensor) -> None:
    """Rotation and RMS norm run in float32 in every model, so that is how close two ways of computing it come."""
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def make_model() -> CausalWanModel:
    torch.manual_seed(0)
    return CausalWanModel(CONFIG).double().eval().requires_grad_(False)


def make_cache(window: int = CONFIG.local_attn_size) -> KVCache:
    sizes = msgspec.structs.replace(CONFIG, local_attn_size=window)
    return KVCache(sizes, (SIZE, SIZE), dtype=torch.float64)


def make_generator(model: CausalWanModel) -> CausalGenerator:
    generator = CausalGenerator(model, make_cache(), FlowSchedule())
    generator.set_text(text())
    return generator


def text() -> Tensor:
    return torch.randn(1, CONFIG.text_len, CONFIG.text_dim, generator=torch.Generator().manual_seed(7)).double()


def latents(frames: int, seed: int) -> Tensor:
    shape = (1, frames, CONFIG.in_dim, SIZE, SIZE)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


def plain_flow(model: CausalWanModel, chunks: list[Chunk], start_frame: int, bias: float = 1.0) -> Tensor:
    """The flow of the last chunk. Every chunk sees itself and those before it; only the last one's view is biased."""
    everything = torch.cat([chunk.latents for chunk in chunks], 1)
    times = [model.embed_time(torch.tensor([chunk.time])) for chunk in chunks]
    size = CHUNK * FRAME_TOKENS
    rope = rope_table(CONFIG.head_dim, start_frame, everything.shape[1], SIZE // 2, SIZE // 2)
    mask = score_mask(len(chunks), bias)
    x = model.patchify(everything)
    for block, text_kv in zip(model.block_list(), model.embed_text(text()), strict=True):
        parts = [block.modulate(block_time) for _, block_time in times]
        mod = tuple(torch.cat([m.expand(-1, size, -1) for m in six], 1) for six in zip(*parts, strict=True))
        q, k, v = (t.transpose(1, 2) for t in block.attention_inputs(x, mod, rope))
        scores = q @ k.transpose(-1, -2) / math.sqrt(CONFIG.head_dim) + mask
        attended = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
        x = block.finish(x, attended, text_kv, mod)
    patches = model.head(x[:, -size:], times[-1][0])
    return model.unpatchify(patches, CHUNK, SIZE, SIZE)


def score_mask(chunks: int, bias: float) -> Tensor:
    """[tokens, tokens] to add to scores: block-causal, and ln(bias) in the last chunk's rows where it applies."""
    size = CHUNK * FRAME_TOKENS
    chunk = torch.arange(chunks * size) // size
    mask = torch.zeros(chunks * size, chunks * size, dtype=torch.float64)
    mask[chunk[:, None] < chunk[None]] = -torch.inf
    mask[-size:, FRAME_TOKENS : (chunks - 1) * size] += math.log(bias)
    return mask
