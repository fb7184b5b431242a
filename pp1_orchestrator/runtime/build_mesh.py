"""A mesh rank's generator from settings. Imports nothing that only rank 0 needs."""

from __future__ import annotations

import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.contract.envelope import latent_size
from pp1_orchestrator.measure.spans import SpanRecorder
from pp1_orchestrator.mesh.text import LeaderText
from pp1_orchestrator.mesh.worker import Generator
from pp1_orchestrator.models.wan.compiled import compile_blocks
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.dit import CausalWanModel
from pp1_orchestrator.models.wan.generator import CausalGenerator
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.parallelize import Shard, ShardPlan, parallelize
from pp1_orchestrator.models.wan.schedule import FlowSchedule
from pp1_orchestrator.models.wan.weights import load_generator
from pp1_orchestrator.runtime.checkpoint import DTYPES, Components, as_config_error
from pp1_orchestrator.runtime.faults import with_work_fault
from pp1_orchestrator.runtime.slow import SlowGenerator


def load_transformer(settings: Settings, config: WanConfig, device: torch.device) -> CausalWanModel:
    """The whole transformer, before it is sharded. Raises ConfigError for a bad checkpoint."""
    random = settings.model.weights == "random"
    with as_config_error(settings):
        folder = settings.model.folder / "generator"
        return load_generator(folder, config, device, DTYPES[settings.model.dtype], random, settings.seed)


def make_generator(
    model: CausalWanModel, settings: Settings, rank: int, shard: Shard | None
) -> tuple[Generator, Components]:
    """The generator of one mesh rank, sharded when `shard` is given, and its bytes by component."""
    config = model.config
    if shard is not None:
        parallelize(model, shard, ShardPlan(settings.layout.shard.qk, settings.layout.shard.cross_attention))
    weight = model.patch_embedding.weight
    size = latent_size(settings.stream.height, settings.stream.width)
    cache = KVCache.for_model(config, shard.degree if shard else 1, size, weight.dtype, weight.device)
    schedule = FlowSchedule(settings.model.shift, settings.model.warp)
    parts = {"generator": sum(p.nbytes for p in model.parameters()), "kv_cache": cache.nbytes}
    made = CausalGenerator(model, cache, schedule)
    if settings.layout.compile:
        compile_blocks(model)
        made.warm_up((1, config.text_len, config.text_dim), (1, config.chunk_frames, config.in_dim, *size))
    generator = SlowGenerator(made, settings.debug.mesh_s) if settings.debug.mesh_s else made
    return with_work_fault(generator, rank, settings), parts


def make_leader_text(
    settings: Settings, config: WanConfig, device: torch.device, spans: SpanRecorder
) -> tuple[LeaderText, Components]:
    """The leader's part in text, with an encoder where the routing puts it there, and its bytes."""
    if settings.routing.encoder != "leader":
        return LeaderText(None, spans), {}
    # Imported here: the other mesh ranks do without it.
    from pp1_orchestrator.runtime.build_text import load_encoder

    encoder, nbytes = load_encoder(settings, config, device)
    return LeaderText(encoder, spans), {"text_encoder": nbytes}
