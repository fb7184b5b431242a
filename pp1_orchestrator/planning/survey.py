"""A run's parts, measured without data: what each rank holds, and what each part computes for one chunk.

Knows settings and modules; says nothing about how fast a machine is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.models.vae.base import DecodeState
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.rope import rope_table
from pp1_orchestrator.planning import modules
from pp1_orchestrator.planning.requirements import Requirements, requirements
from pp1_orchestrator.planning.work import CountingShard, Work, counting

Part = Literal["generator", "context", "decode", "encode", "text"]
ANCHOR = "recompute_anchor"


@dataclass(frozen=True, slots=True)
class Survey:
    """components: bytes of every part that some rank may hold. work: of one call of each part, on one rank.

    generator is one denoising pass over a full window, context one pass that only writes keys and values, decode a
    steady chunk, encode one frame (only where the context needs it), text one prompt.
    """

    needs: Requirements
    components: dict[str, int]
    work: dict[Part, Work]


def survey(settings: Settings, config: WanConfig) -> Survey:
    """Raises ConfigError for a model or a size that can't be run."""
    needs = requirements(settings, config)
    components: dict[str, int] = {}
    work: dict[Part, Work] = {}
    _survey_mesh(settings, config, needs, components, work)
    _survey_vae(settings, needs, components, work)
    text = modules.text_encoder(settings)
    components["text_encoder"] = modules.nbytes(text)
    with counting() as work["text"]:
        text(input_ids=torch.zeros(needs.text[:2], dtype=torch.long, device=modules.META))
    return Survey(needs, components, work)


def _survey_mesh(
    settings: Settings, config: WanConfig, needs: Requirements, components: dict[str, int], work: dict[Part, Work]
) -> None:
    degree = settings.layout.mesh_ranks
    dtype, frames = modules.dtype_of(settings), needs.chunk_latent_frames
    height, width = needs.latents[-2:]
    shard = CountingShard(degree)
    model = modules.generator(settings, config, shard)
    cache = modules.kv_cache(settings, config, degree, (height, width))
    components |= {"generator": modules.nbytes(model), "kv_cache": cache.nbytes}
    with modules.META:
        text = model.embed_text(torch.zeros(needs.text, dtype=dtype))
        rope = rope_table(config.head_dim, 0, frames, height // 2, width // 2, modules.META)
        latents, time = torch.zeros(needs.latents, dtype=dtype), torch.zeros(1)
    cache.begin(needs.window_latent_frames - frames)
    runs: dict[Part, Callable[..., Any]] = {"generator": model.forward, "context": model.write_history}
    for part, run in runs.items():
        shard.reset()
        with counting() as counted:
            run(latents, time, text, cache, rope)
        counted.reductions, counted.reduction_bytes = shard.reductions, shard.nbytes
        work[part] = counted


def _survey_vae(settings: Settings, needs: Requirements, components: dict[str, int], work: dict[Part, Work]) -> None:
    parts = modules.vae(settings, with_encoder=settings.context.name == ANCHOR)
    decoder, encoder = parts.decoder, parts.frame_encoder
    components["vae"] = decoder.weight_bytes
    state = DecodeState()
    latents = torch.zeros(needs.latents[1:], device=modules.META)
    decoder.decode(latents, state)
    with counting() as work["decode"]:
        decoder.decode(latents, state)
    components["decode_cache"] = state.nbytes
    if encoder is not None:
        components["vae_encoder"] = encoder.weight_bytes
        with counting() as work["encode"]:
            encoder.encode(torch.zeros((3, needs.height, needs.width), device=modules.META))
