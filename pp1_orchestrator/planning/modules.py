"""The modules that a run would load, on the meta device: right shapes, no data, no weight file is opened.

Knows which module lives on which kind of device; says nothing about time or bytes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import nn
from transformers import UMT5EncoderModel

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.config.text_source import text_source
from pp1_orchestrator.config.vae_source import vae_source
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.models.text.load import make_umt5
from pp1_orchestrator.models.vae.kinds import VAES, VaeParts
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.dit import CausalWanModel
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.parallelize import Shard, ShardPlan, parallelize

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
    return KVCache.for_model(config, degree, latent_size, dtype_of(settings), META)


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
