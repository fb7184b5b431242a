"""The modules that a run would load, on the meta device: right shapes, no data, no weight file is opened.

Knows which module lives on which kind of device; says nothing about time or bytes.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKLWan
from torch import nn
from transformers import UMT5Config, UMT5EncoderModel

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.models.vae.base import FrameEncode, StreamingDecoder
from pp1_orchestrator.models.vae.load import make_decoder, make_frame_encoder
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


def vae(settings: Settings) -> AutoencoderKLWan:
    """The whole autoencoder. Raises ConfigError when its configuration is missing."""
    kind: Any = AutoencoderKLWan
    folder = settings.model.folder / "vae"
    try:
        config = kind.load_config(str(folder))
    except OSError as error:
        raise ConfigError(f"model.root={settings.model.root}: no vae/config.json in {folder.parent}") from error
    with META:
        return kind.from_config(config, torch_dtype=dtype_of(settings)).eval().requires_grad_(False)


def decoder(settings: Settings, whole: AutoencoderKLWan) -> StreamingDecoder:
    """The decoder that rank 0 would use on the layout's device."""
    with META:
        return make_decoder(whole)


def frame_encoder(whole: AutoencoderKLWan) -> FrameEncode:
    """The one-frame encoder that rank 0 would use."""
    with META:
        return make_frame_encoder(whole)


def text_encoder(settings: Settings) -> UMT5EncoderModel:
    """Raises ConfigError when its configuration is missing."""
    folder = settings.model.folder / "text_encoder"
    try:
        config = UMT5Config.from_pretrained(str(folder), local_files_only=True)
    except OSError as error:
        raise ConfigError(
            f"model.root={settings.model.root}: no text_encoder/config.json in {folder.parent}"
        ) from error
    model: Any
    with META:
        model = UMT5EncoderModel(config)
    return model.to(dtype_of(settings)).eval().requires_grad_(False)


def nbytes(module: nn.Module) -> int:
    """Bytes of a module's weights."""
    return sum(p.nbytes for p in module.parameters())
