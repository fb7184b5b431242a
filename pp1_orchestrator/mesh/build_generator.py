"""Builds a mesh rank's generator from settings. Imports nothing that only rank 0 needs."""

import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.contract.envelope import latent_size
from pp1_orchestrator.loading.cache_policy import make_cache_policy
from pp1_orchestrator.loading.checkpoint import COMPONENT_DTYPES, Components, as_config_error, open_checkpoint
from pp1_orchestrator.loading.parallelism import make_parallel_plan
from pp1_orchestrator.mesh.text_conditioning import RecipeResolver
from pp1_orchestrator.models.checkpoints.random_weights import InitialWeights
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.cuda_graphs import fast_runner
from pp1_orchestrator.models.wan.generator import CausalGenerator
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.load_generator import State, build_sharded, read_part, whole_shapes
from pp1_orchestrator.models.wan.schedule import FlowSchedule
from pp1_orchestrator.models.wan.tensor_parallel import Place, Shard
from pp1_orchestrator.processes.progress import progress
from pp1_orchestrator.telemetry.spans import SpanRecorder
from pp1_orchestrator.testing.faults import with_work_fault
from pp1_orchestrator.testing.wrappers import delayed
from pp1_orchestrator.transport.process_groups import LEADER


def load_weights(settings: Settings, config: WanConfig, place: Place, device: torch.device) -> State:
    """The rank's part of the transformer. Raises ConfigError for a bad checkpoint, before its weights are read."""
    model, dtype = settings.model, COMPONENT_DTYPES[settings.model.dtype]
    if model.weights == "random":
        source = InitialWeights(whole_shapes(config), settings.seed)
        return read_part(config, source, place, make_parallel_plan(settings), device, dtype)
    with as_config_error(settings):
        return read_part(config, open_checkpoint(settings, config), place, make_parallel_plan(settings), device, dtype)


def make_generator(
    state: State, settings: Settings, config: WanConfig, shard: Shard
) -> tuple[CausalGenerator, Components]:
    """The generator of one mesh rank, and its bytes by component. state: as `load_weights` returned it."""
    plan = make_parallel_plan(settings)
    model = build_sharded(config, state, shard, plan)
    weight = model.patch_embedding.weight
    size = latent_size(settings.stream.height, settings.stream.width)
    relative = settings.context.rope == "relative"
    cache = KVCache(
        config,
        size,
        degree=shard.degree,
        rank=shard.rank,
        all_reduce=shard.all_reduce,
        relative=relative,
        policy=make_cache_policy(settings.cache),
        dtype=weight.dtype,
        device=weight.device,
    )
    schedule = FlowSchedule(settings.model.shift, settings.model.warp)
    components = {"generator": sum(p.nbytes for p in model.parameters()), "kv_cache": cache.nbytes}
    components["text_cache"] = model.text_bytes()
    compiled = settings.layout.compile
    runner = fast_runner(model, cache, settings.layout.fp8) if compiled else plan.runner(model, cache, shard)
    generator = CausalGenerator(model, cache, schedule, runner)
    if compiled or weight.is_cuda:  # a GPU's libraries load and choose kernels at first use
        with progress("compiling the generator" if compiled else "choosing kernels"):
            generator.warm_up((1, config.text_len, config.text_dim), (1, config.chunk_frames, config.in_dim, *size))
    if delay_s := settings.debug.mesh_s:
        generator = delayed(generator, "denoise", lambda _: delay_s)
    return with_work_fault(generator, shard.rank + LEADER, settings), components


def make_recipe_resolver(
    settings: Settings, config: WanConfig, device: torch.device, result: torch.device, spans: SpanRecorder
) -> tuple[RecipeResolver, Components]:
    """What resolves text recipes on the leader, and its bytes by component. Has an encoder if the routing needs one.

    device: of the encoder. result: of its embeddings, as of those that messages bring.
    """
    if settings.routing.encoder != "leader":
        return RecipeResolver(None, spans), {}
    # Imported here: only the leader needs it.
    from pp1_orchestrator.loading.stage0_models import load_encoder

    encoder, nbytes = load_encoder(settings, config, device, result)
    return RecipeResolver(encoder, spans), {"text_encoder": nbytes}
