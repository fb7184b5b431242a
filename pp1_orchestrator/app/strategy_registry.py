"""Which class each option of the configuration names, and the rules that depend on those classes.

The only place where names become classes.
"""

from collections.abc import Collection, Mapping

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.config.validate import validate
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.layouts.base import Layout
from pp1_orchestrator.layouts.inline import InlineLayout
from pp1_orchestrator.layouts.spawn import SpawnedLayout
from pp1_orchestrator.layouts.torchrun import TorchrunLayout
from pp1_orchestrator.models.vae.load_vae import VAES
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.planning.strategy_traits import Strategies
from pp1_orchestrator.stage0.context_policies import (
    CleanPass,
    ContextPolicy,
    NoContext,
    RecomputeAnchor,
    RecomputeLatent,
    RecomputeSynthetic,
)
from pp1_orchestrator.stage0.overlap.base import Overlap
from pp1_orchestrator.stage0.overlap.strategies import DecodeThread, LoopAhead, Stage0Owned, Sync
from pp1_orchestrator.stage0.text_routing import HybridCache, MeshEncoder, Rank0Encoder, Routing
from pp1_orchestrator.testing.faults import ANSWER_FAULTS, INLINE_FAULTS, KINDS, NO_FAULT
from pp1_orchestrator.transport.process_groups import LEADER

ROUTINGS: Mapping[str, type[Routing]] = {
    "rank0_encoder": Rank0Encoder,
    "mesh_encoder": MeshEncoder,
    "hybrid_cache": HybridCache,
}
OVERLAPS: Mapping[str, type[Overlap]] = {
    "stage0_owned": Stage0Owned,
    "loop_ahead": LoopAhead,
    "decode_thread": DecodeThread,
    "sync": Sync,
}
"""The first of several equally fast ones is the one that a plan recommends."""
CONTEXTS: Mapping[str, type[ContextPolicy]] = {
    "clean_pass": CleanPass,
    "none": NoContext,
    "recompute_anchor": RecomputeAnchor,
    "recompute_synthetic": RecomputeSynthetic,
    "recompute_latent": RecomputeLatent,
}
LAYOUTS: Mapping[str, type[Layout]] = {
    "cpu": SpawnedLayout,
    "inline": InlineLayout,
    "gpu_1p1": SpawnedLayout,
    "gpu_1p2": SpawnedLayout,
    "gpu_1p4": SpawnedLayout,
    "gpu_shared": SpawnedLayout,
    "torchrun": TorchrunLayout,
}

STRATEGIES = Strategies(OVERLAPS, ROUTINGS, CONTEXTS)
"""What plans may know of these classes."""

BUILT_IN: Mapping[str, Mapping[str, object]] = {
    "routing": ROUTINGS,
    "overlap": OVERLAPS,
    "context": CONTEXTS,
    "layout": LAYOUTS,
    "stage0": VAES,
    "text_encoder": {"umt5": None},
}


def check(settings: Settings, modes: Collection[str]) -> WanConfig:
    """Check every rule and return the generator's sizes. Raises ConfigError with one line.

    Args:
        modes: the options of `run`.
    """
    config = validate(settings, {**BUILT_IN, "run": modes})
    _check_routing(settings)
    _check_overlap(settings)
    _check_context(settings, config)
    _check_fault(settings)
    return config


def _check_routing(settings: Settings) -> None:
    routing, home = settings.routing, ROUTINGS[settings.routing.name].home
    if routing.encoder != home:
        raise ConfigError(
            f"routing.encoder={routing.encoder}: routing={routing.name} has it elsewhere; possible: {home}"
        )


def _check_overlap(settings: Settings) -> None:
    name, strategy = settings.overlap.name, OVERLAPS[settings.overlap.name]
    for key in ("d_in", "d_out"):
        value = getattr(settings.overlap, key)
        if value != 1 and key not in strategy.queues:
            raise ConfigError(f"overlap.{key}={value}: overlap={name} keeps one at a time; possible: 1")


def _check_context(settings: Settings, config: WanConfig) -> None:
    if settings.model.context not in CONTEXTS:
        known = ", ".join(sorted(CONTEXTS))
        raise ConfigError(f"model.context={settings.model.context}: not built in; choices: {known}")
    context, strategy = settings.context, CONTEXTS[settings.context.name]
    if not strategy.rebuilds:
        for key, value in (("recompute_every", context.recompute_every), ("attention_bias", context.attention_bias)):
            if value != 1:
                raise ConfigError(f"context.{key}={value}: context={context.name} rebuilds nothing; possible: 1")
    elif config.local_attn_size < 2 * config.chunk_frames:
        raise ConfigError(
            f"context={context.name}: needs a window of 2 chunks ({2 * config.chunk_frames} latent frames); "
            f"the model's has {config.local_attn_size}"
        )
    elif context.recompute_every > 1 and context.attention_bias != 1:
        raise ConfigError(
            f"context.attention_bias={context.attention_bias}: has no anchor between rebuilds; possible with "
            f"context.recompute_every={context.recompute_every}: 1"
        )


def _check_fault(settings: Settings) -> None:
    fault, ranks = settings.debug.fault, settings.layout.mesh_ranks
    if fault.kind == NO_FAULT:
        return
    if fault.kind not in KINDS:
        known = ", ".join(sorted(KINDS))
        raise ConfigError(f"debug.fault.kind={fault.kind}: no such fault; choices: {known}")
    if fault.rank > ranks:
        raise ConfigError(f"debug.fault.rank={fault.rank}: no such rank of the mesh; possible: 1 to {ranks}")
    if fault.kind in ANSWER_FAULTS and fault.rank != LEADER:
        raise ConfigError(
            f"debug.fault.rank={fault.rank}: {fault.kind} is done to the leader's answer; possible: {LEADER}"
        )
    if settings.layout.backend == "none" and fault.kind not in INLINE_FAULTS:
        possible = ", ".join(sorted({NO_FAULT, *INLINE_FAULTS}))
        raise ConfigError(
            f"debug.fault.kind={fault.kind}: layout={settings.layout.name} has no rank to itself; possible: {possible}"
        )
