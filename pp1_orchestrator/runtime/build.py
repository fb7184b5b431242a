"""Models from settings: what each rank loads, and how many bytes each part takes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.models.text.encoder import TextEncoder, load_text_encoder
from pp1_orchestrator.models.vae.base import StreamingDecoder
from pp1_orchestrator.models.vae.load import load_vae, make_decoder
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.dit import CausalWanModel
from pp1_orchestrator.models.wan.generator import CausalGenerator
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.parallelize import Shard, parallelize
from pp1_orchestrator.models.wan.schedule import FlowSchedule
from pp1_orchestrator.models.wan.weights import load_generator

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
Components = dict[str, int]


@contextlib.contextmanager
def _as_config_error(settings: Settings) -> Iterator[None]:
    """A checkpoint that can't be read is a setting that can't be met."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"model.root={settings.model.root}: {reason}") from error


def load_transformer(settings: Settings, config: WanConfig, device: torch.device) -> CausalWanModel:
    """The whole transformer, before it is sharded. Raises ConfigError for a bad checkpoint."""
    random = settings.model.weights == "random"
    with _as_config_error(settings):
        folder = settings.model.folder / "generator"
        return load_generator(folder, config, device, _DTYPES[settings.model.dtype], random, settings.seed)


def make_generator(
    model: CausalWanModel, settings: Settings, shard: Shard | None
) -> tuple[CausalGenerator, Components]:
    """The generator of one mesh rank, sharded when `shard` is given, and its bytes by component."""
    config = model.config
    if shard is not None:
        parallelize(model, shard)
    weight = model.patch_embedding.weight
    cache = KVCache(
        layers=config.num_layers,
        heads=config.num_heads // (shard.degree if shard else 1),
        head_dim=config.head_dim,
        tokens_per_frame=config.tokens_per_frame(settings.stream.height // 8, settings.stream.width // 8),
        chunk=config.chunk_frames,
        window=config.local_attn_size,
        sink=config.sink_frames,
        dtype=weight.dtype,
        device=weight.device,
    )
    schedule = FlowSchedule(settings.model.shift, settings.model.warp)
    parts = {"generator": sum(p.nbytes for p in model.parameters()), "kv_cache": cache.nbytes}
    return CausalGenerator(model, cache, schedule), parts


def load_decoder(settings: Settings, device: torch.device) -> StreamingDecoder:
    """Raises ConfigError for a bad checkpoint."""
    random = settings.model.weights == "random"
    with _as_config_error(settings):
        return make_decoder(load_vae(settings.model.folder / "vae", device, _DTYPES[settings.model.dtype], random))


def load_encoder(settings: Settings, config: WanConfig, device: torch.device) -> TextEncoder:
    """Raises ConfigError for a bad checkpoint."""
    folder, random = settings.model.folder, settings.model.weights == "random"
    with _as_config_error(settings):
        return load_text_encoder(
            folder / "text_encoder",
            folder / "tokenizer",
            config.text_len,
            device,
            _DTYPES[settings.model.dtype],
            random,
        )
