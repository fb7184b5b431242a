"""The modules that a run would load, on the meta device: right shapes, no data, no weight file is opened.

Knows which module lives on which kind of device; says nothing about time or bytes.

A run's parts, measured without data: what each rank holds, what each part computes for one chunk, in what memory.

Knows settings and modules; says nothing about how fast a machine is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import UMT5EncoderModel

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.loading.sources import text_source, vae_source
from pp1_orchestrator.models.text.load_text_encoder import make_umt5
from pp1_orchestrator.models.vae.base import DecodeState
from pp1_orchestrator.models.vae.pixel_format import PixelFormat, pixel_format_for
from pp1_orchestrator.models.vae.vae_registry import VAES, VaeParts
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.model import CausalWanModel
from pp1_orchestrator.models.wan.rope import rope_table
from pp1_orchestrator.models.wan.tensor_parallel import Shard, ShardPlan, parallelize
from pp1_orchestrator.planning.memory_tracker import MemoryTracker
from pp1_orchestrator.planning.op_counter import CountingShard, OpCounts, counting
from pp1_orchestrator.planning.requirements import Requirements, requirements
from pp1_orchestrator.planning.strategy_traits import Strategies

META = torch.device("meta")


def dtype_of(settings: Settings) -> torch.dtype:
    return getattr(torch, settings.model.dtype)


def generator(settings: Settings, config: WanConfig, shard: Shard) -> CausalWanModel:
    """One mesh rank's transformer."""
    with META:
        model = CausalWanModel(config).to(dtype_of(settings)).eval().requires_grad_(False)
        plan = ShardPlan(settings.layout.shard.qk, settings.layout.shard.cross_attention)
        return parallelize(model, shard, plan)


def kv_cache(settings: Settings, config: WanConfig, degree: int, latent_size: tuple[int, int]) -> KVCache:
    """One mesh rank's keys and values."""
    return KVCache(config, latent_size, degree=degree, dtype=dtype_of(settings), device=META)


def vae(settings: Settings, with_encoder: bool) -> VaeParts:
    """The decoder that rank 0 would use, and the one-frame encoder. Raises ConfigError for one that can't be."""
    _check_there(settings, "vae")
    source = replace(vae_source(settings), random=True)
    try:
        return VAES[settings.stage0.name].load(source, META, dtype_of(settings), with_encoder)
    except (OSError, ValueError) as error:
        raise ConfigError(f"stage0={settings.stage0.name}: {error}") from error


def text_encoder(settings: Settings) -> UMT5EncoderModel:
    """Raises ConfigError when it can't be."""
    _check_there(settings, "text_encoder")
    return make_umt5(replace(text_source(settings), seed=0), META, dtype_of(settings))


def _check_there(settings: Settings, part: Literal["vae", "text_encoder"]) -> None:
    """A checkpoint that is there must have its parts; one that is not there yet can be planned for."""
    model = settings.model
    where = vae_source(settings).where if part == "vae" else model.part(part)
    if model.weights == "checkpoint" and model.folder.is_dir() and not where.exists():
        raise ConfigError(f"model.root={model.root}: {where}: no such file or folder")


def nbytes(module: nn.Module) -> int:
    """Bytes of a module's weights."""
    return sum(p.nbytes for p in module.parameters())


Part = Literal["generator", "context", "decode", "encode", "text"]


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """components: bytes of every part that some rank may hold. work: of one call of each part, on one rank.

    generator is one denoising pass over a full window, context one pass that only writes keys and values, decode a
    steady chunk, encode one frame (only where the context needs it), text one prompt.

    beyond: bytes that are alive at once at most, beyond the components, while a part works. Those of generator are of
    both kinds of pass, and of a new prompt's keys and values, which are made while the old ones are held.
    """

    needs: Requirements
    components: dict[str, int]
    work: dict[Part, OpCounts]
    beyond: dict[Part, int]


def profile_model(settings: Settings, config: WanConfig, strategies: Strategies) -> ModelProfile:
    """Raises ConfigError for a model or a size that can't be run."""
    needs = requirements(settings, config)
    found = ModelProfile(needs, {}, {}, {})
    _survey_mesh(settings, config, found)
    _survey_vae(settings, found, strategies.context(settings).needs_pixels)
    _survey_text(settings, found)
    return found


def _survey_mesh(settings: Settings, config: WanConfig, found: ModelProfile) -> None:
    degree, needs, alive = settings.layout.mesh_ranks, found.needs, MemoryTracker()
    dtype, frames = dtype_of(settings), needs.chunk_latent_frames
    height, width = needs.latents[-2:]
    shard = CountingShard(degree)
    model = generator(settings, config, shard)
    cache = kv_cache(settings, config, degree, (height, width))
    with META:
        embeds, latents = (torch.zeros(shape, dtype=dtype) for shape in (needs.text, needs.latents))
        time = torch.zeros(1)
        rope = rope_table(config.head_dim, 0, frames, height // 2, width // 2, META)
    with torch.inference_mode(), alive:
        text = model.embed_text(embeds)
        text = model.embed_text(embeds)  # the old prompt's are let go once the new one's are there
    text_cache = sum(t.nbytes for pair in text for t in pair)
    found.components.update(generator=nbytes(model), kv_cache=cache.nbytes, text_cache=text_cache)
    cache.begin(needs.window_latent_frames - frames)
    runs: dict[Part, Callable[..., Any]] = {"generator": model.forward, "context": model.write_history}
    for part, run in runs.items():
        shard.reset()
        with counting(alive) as counted:
            run(latents, time, text, cache, rope)
        counted.reductions, counted.reduction_bytes = shard.reductions, shard.nbytes
        found.work[part] = counted
    found.beyond["generator"] = alive.most - text_cache


def _survey_vae(settings: Settings, found: ModelProfile, with_encoder: bool) -> None:
    needs, alive, state = found.needs, MemoryTracker(), DecodeState()
    parts = vae(settings, with_encoder)
    latents = torch.zeros(needs.latents[1:], device=META)
    pictures = pixel_format_for(torch.device(settings.layout.device))
    with counting(alive):
        _show(parts, pictures, latents, state)  # a stream's first chunk; what it keeps is made here
        _show(parts, pictures, latents, state)
    found.components.update(vae=parts.decoder.weight_bytes, decode_cache=state.nbytes)
    found.beyond["decode"] = alive.most - state.nbytes
    with counting() as found.work["decode"]:
        parts.decoder.decode(latents, state)
    if parts.frame_encoder is not None:
        found.components["vae_encoder"] = parts.frame_encoder.weight_bytes
        with counting() as found.work["encode"]:
            parts.frame_encoder.encode(torch.zeros((3, needs.height, needs.width), device=META))


def _show(parts: VaeParts, pictures: PixelFormat, latents: Tensor, state: DecodeState) -> None:
    """A chunk as rank 0 shows it: where an anchor is needed, the first frame comes before the others and is encoded."""
    if parts.frame_encoder is None:
        pictures(parts.decoder.decode(latents, state))
        return
    first = parts.decoder.decode(latents[:1], state)
    parts.frame_encoder.encode(first[-1])
    pictures(torch.cat([first, parts.decoder.decode(latents[1:], state)]))


def _survey_text(settings: Settings, found: ModelProfile) -> None:
    text, alive = text_encoder(settings), MemoryTracker()
    found.components["text_encoder"] = nbytes(text)
    with counting(alive) as found.work["text"]:
        text(input_ids=torch.zeros(found.needs.text[:2], dtype=torch.long, device=META))
    found.beyond["text"] = alive.most
