"""A run's parts, measured without data: what each rank holds, what each part computes for one chunk, in what memory.

Knows settings and modules; says nothing about how fast a machine is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.models.vae.base import DecodeState
from pp1_orchestrator.models.vae.kinds import VaeParts
from pp1_orchestrator.models.vae.pictures import Pictures, pictures_for
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.rope import rope_table
from pp1_orchestrator.planning import modules
from pp1_orchestrator.planning.alive import Alive
from pp1_orchestrator.planning.requirements import Requirements, requirements
from pp1_orchestrator.planning.work import CountingShard, Work, counting

Part = Literal["generator", "context", "decode", "encode", "text"]
ANCHOR = "recompute_anchor"


@dataclass(frozen=True, slots=True)
class Survey:
    """components: bytes of every part that some rank may hold. work: of one call of each part, on one rank.

    generator is one denoising pass over a full window, context one pass that only writes keys and values, decode a
    steady chunk, encode one frame (only where the context needs it), text one prompt.

    beyond: bytes that are alive at once at most, beyond the components, while a part works. Those of generator are of
    both kinds of pass, and of a new prompt's keys and values, which are made while the old ones are held.
    """

    needs: Requirements
    components: dict[str, int]
    work: dict[Part, Work]
    beyond: dict[Part, int]


def survey(settings: Settings, config: WanConfig) -> Survey:
    """Raises ConfigError for a model or a size that can't be run."""
    needs = requirements(settings, config)
    found = Survey(needs, {}, {}, {})
    _survey_mesh(settings, config, found)
    _survey_vae(settings, found)
    _survey_text(settings, found)
    return found


def _survey_mesh(settings: Settings, config: WanConfig, found: Survey) -> None:
    degree, needs, alive = settings.layout.mesh_ranks, found.needs, Alive()
    dtype, frames = modules.dtype_of(settings), needs.chunk_latent_frames
    height, width = needs.latents[-2:]
    shard = CountingShard(degree)
    model = modules.generator(settings, config, shard)
    cache = modules.kv_cache(settings, config, degree, (height, width))
    with modules.META:
        embeds, latents = (torch.zeros(shape, dtype=dtype) for shape in (needs.text, needs.latents))
        time = torch.zeros(1)
        rope = rope_table(config.head_dim, 0, frames, height // 2, width // 2, modules.META)
    with torch.inference_mode(), alive:
        text = model.embed_text(embeds)
        text = model.embed_text(embeds)  # the old prompt's are let go once the new one's are there
    text_cache = sum(t.nbytes for pair in text for t in pair)
    found.components.update(generator=modules.nbytes(model), kv_cache=cache.nbytes, text_cache=text_cache)
    cache.begin(needs.window_latent_frames - frames)
    runs: dict[Part, Callable[..., Any]] = {"generator": model.forward, "context": model.write_history}
    for part, run in runs.items():
        shard.reset()
        with counting(alive) as counted:
            run(latents, time, text, cache, rope)
        counted.reductions, counted.reduction_bytes = shard.reductions, shard.nbytes
        found.work[part] = counted
    found.beyond["generator"] = alive.most - text_cache


def _survey_vae(settings: Settings, found: Survey) -> None:
    needs, alive, state = found.needs, Alive(), DecodeState()
    parts = modules.vae(settings, with_encoder=settings.context.name == ANCHOR)
    latents = torch.zeros(needs.latents[1:], device=modules.META)
    pictures = pictures_for(torch.device(settings.layout.device))
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
            parts.frame_encoder.encode(torch.zeros((3, needs.height, needs.width), device=modules.META))


def _show(parts: VaeParts, pictures: Pictures, latents: Tensor, state: DecodeState) -> None:
    """A chunk as rank 0 shows it: where an anchor is needed, the first frame comes before the others and is encoded."""
    if parts.frame_encoder is None:
        pictures(parts.decoder.decode(latents, state))
        return
    first = parts.decoder.decode(latents[:1], state)
    parts.frame_encoder.encode(first[-1])
    pictures(torch.cat([first, parts.decoder.decode(latents[1:], state)]))


def _survey_text(settings: Settings, found: Survey) -> None:
    text, alive = modules.text_encoder(settings), Alive()
    found.components["text_encoder"] = modules.nbytes(text)
    with counting(alive) as found.work["text"]:
        text(input_ids=torch.zeros(found.needs.text[:2], dtype=torch.long, device=modules.META))
    found.beyond["text"] = alive.most
