"""A run's models on the meta device: what each rank holds, what each part computes for a chunk, and in what memory.

No weight file is opened. Knows settings and modules. Knows nothing of a machine's speed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers.models.umt5 import UMT5EncoderModel

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.loading.sources import text_source, vae_source
from pp1_orchestrator.models.text.load_text_encoder import make_umt5
from pp1_orchestrator.models.vae.base import DecodeState
from pp1_orchestrator.models.vae.load_vae import VaeLoader, VaeParts
from pp1_orchestrator.models.vae.pixel_format import PixelFormat, pixel_format_for
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.model import CausalWanModel
from pp1_orchestrator.models.wan.rope import rope_table
from pp1_orchestrator.models.wan.tensor_parallel import ShardPlan, parallelize
from pp1_orchestrator.planning.inputs_outputs import Requirements, requirements
from pp1_orchestrator.planning.memory_tracker import MemoryTracker
from pp1_orchestrator.planning.op_counter import CountingShard, OpCounts, counting
from pp1_orchestrator.planning.strategy_traits import Strategies

META = torch.device("meta")
Part = Literal["generator", "context", "decode", "encode", "text"]


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """What a run's models need.

    components: bytes of every part that some rank may hold. work: one call of each part on one rank, namely a denoising
    pass over a full window, a pass that only writes keys and values, the decode of a chunk, the encode of a frame where
    the context needs it, and a prompt. activation_peak: the most bytes alive beyond the components while a part works.
    The generator's covers both kinds of pass, and a new prompt's keys and values, made while the old ones are held.
    """

    needs: Requirements
    components: dict[str, int]
    work: dict[Part, OpCounts]
    activation_peak: dict[Part, int]


def dtype_of(settings: Settings) -> torch.dtype:
    return getattr(torch, settings.model.dtype)


def profile_model(settings: Settings, config: WanConfig, strategies: Strategies) -> ModelProfile:
    """Raises ConfigError for a model or a size that can't be run."""
    profile = ModelProfile(requirements(settings, config), {}, {}, {})
    _profile_mesh(settings, config, profile)
    _profile_vae(settings, strategies, profile)
    _profile_text(settings, profile)
    return profile


def _profile_mesh(settings: Settings, config: WanConfig, profile: ModelProfile) -> None:
    needs, memory, shard = profile.needs, MemoryTracker(), CountingShard(settings.layout.mesh_ranks)
    dtype, frames = dtype_of(settings), needs.chunk_latent_frames
    height, width = needs.latents[-2:]
    cache = KVCache(config, (height, width), degree=shard.degree, dtype=dtype, device=META)
    with META:
        model = CausalWanModel(config).to(dtype).eval().requires_grad_(False)
        parallelize(model, shard, ShardPlan(settings.layout.shard.qk, settings.layout.shard.cross_attention))
        embeds, latents = (torch.zeros(shape, dtype=dtype) for shape in (needs.text, needs.latents))
        time = torch.zeros(1)
        rope = rope_table(config.head_dim, 0, frames, height // 2, width // 2, META)
    with torch.inference_mode(), memory:
        text = model.embed_text(embeds)
        text = model.embed_text(embeds)  # the old prompt's are freed once the new one's exist
    text_cache = sum(t.nbytes for pair in text for t in pair)
    profile.components.update(generator=weight_bytes(model), kv_cache=cache.nbytes, text_cache=text_cache)
    cache.begin(needs.window_latent_frames - frames)
    passes: dict[Part, Callable[..., Any]] = {"generator": model.forward, "context": model.write_history}
    for part, run in passes.items():
        shard.reset()
        with counting(memory) as work:
            run(latents, time, text, cache, rope)
        work.reductions, work.reduction_bytes = shard.reductions, shard.nbytes
        profile.work[part] = work
    profile.activation_peak["generator"] = memory.peak - text_cache


def _profile_vae(settings: Settings, strategies: Strategies, profile: ModelProfile) -> None:
    needs, memory, state = profile.needs, MemoryTracker(), DecodeState()
    parts = vae(settings, strategies.decoder(settings), strategies.context(settings).needs_pixels)
    latents = torch.zeros(needs.latents[1:], device=META)
    to_frames = pixel_format_for(torch.device(settings.layout.device))
    with counting(memory):
        _decode(parts, to_frames, latents, state)  # a stream's first chunk, which fills the decoder's cache
        _decode(parts, to_frames, latents, state)
    profile.components.update(vae=parts.decoder.weight_bytes, decode_cache=state.nbytes)
    profile.activation_peak["decode"] = memory.peak - state.nbytes
    with counting() as profile.work["decode"]:
        parts.decoder.decode(latents, state)
    if parts.frame_encoder is not None:
        profile.components["vae_encoder"] = parts.frame_encoder.weight_bytes
        with counting() as profile.work["encode"]:
            parts.frame_encoder.encode(torch.zeros((3, needs.height, needs.width), device=META))


def _decode(parts: VaeParts, to_frames: PixelFormat, latents: Tensor, state: DecodeState) -> None:
    """Decode a chunk as rank 0 does. Where an anchor is needed, the first frame is decoded and encoded first."""
    if parts.frame_encoder is None:
        to_frames(parts.decoder.decode(latents, state))
        return
    first = parts.decoder.decode(latents[:1], state)
    parts.frame_encoder.encode(first[-1])
    to_frames(torch.cat([first, parts.decoder.decode(latents[1:], state)]))


def _profile_text(settings: Settings, profile: ModelProfile) -> None:
    text, memory = text_encoder(settings), MemoryTracker()
    profile.components["text_encoder"] = weight_bytes(text)
    with counting(memory) as profile.work["text"]:
        text(input_ids=torch.zeros(profile.needs.text[:2], dtype=torch.long, device=META))
    profile.activation_peak["text"] = memory.peak


def vae(settings: Settings, loader: VaeLoader, frame_encoder: bool) -> VaeParts:
    """The run's decoder, and its frame encoder, without data. Raises ConfigError where it has none."""
    source = vae_source(settings)
    _check_exists(settings, source.path)
    try:
        return loader.load(replace(source, seed=0), META, dtype_of(settings), frame_encoder)
    except (OSError, ValueError) as error:
        raise ConfigError(f"stage0={settings.stage0.name}: {error}") from error


def text_encoder(settings: Settings) -> UMT5EncoderModel:
    """The run's text encoder without data. Raises ConfigError where it has none."""
    source = text_source(settings)
    _check_exists(settings, source.weights)
    return make_umt5(replace(source, seed=0), META, dtype_of(settings))


def _check_exists(settings: Settings, where: Path) -> None:
    """A checkpoint that exists must have the part. One that does not exist yet can still be planned for."""
    model = settings.model
    if model.weights == "checkpoint" and model.folder.is_dir() and not where.exists():
        raise ConfigError(f"model.root={model.root}: {where}: no such file or folder")


def weight_bytes(module: nn.Module) -> int:
    """Bytes of a module's weights."""
    return sum(p.nbytes for p in module.parameters())
