"""Which class each option of the configuration stands for, and the rules that depend on those classes.

The only place where names become classes: those that are built in, and the plug-ins that settings choose.
"""

from collections.abc import Collection, Mapping

from pp1_orchestrator.app.plugins import Part, check_traits, find_part, known_options
from pp1_orchestrator.app.strategy_rules import check_context, check_overlap, check_routing
from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.config.validate import check_options, validate
from pp1_orchestrator.errors import ConfigError, named_line
from pp1_orchestrator.layouts.base import Layout
from pp1_orchestrator.layouts.inline import InlineLayout
from pp1_orchestrator.layouts.spawn import SpawnedLayout
from pp1_orchestrator.layouts.torchrun import TorchrunLayout
from pp1_orchestrator.models.vae.load_vae import VAES, VaeLoader
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.planning.strategy_traits import ContextTraits, OverlapTraits, RoutingTraits, Strategies
from pp1_orchestrator.stage0.context_policies import (
    CleanPass,
    ContextPolicy,
    NoContext,
    RecomputeAnchor,
    RecomputeLatent,
    RecomputeSynthetic,
)
from pp1_orchestrator.stage0.input_modes import HistoryInput, ImageStart, InputMode, MotionNoise, NoiseInjection
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

SOURCE_MODES: Mapping[str, type[InputMode]] = {
    "noise": NoiseInjection,
    "motion_noise": MotionNoise,
    "history": HistoryInput,
    "image_start": ImageStart,
}
"""Those of `source.mode` with an input."""

STRATEGIES = Strategies(OVERLAPS, ROUTINGS, CONTEXTS, {name: kind() for name, kind in VAES.items()})
"""What plans may know of these classes."""

BUILT_IN: Mapping[str, Mapping[str, object]] = {
    "routing": ROUTINGS,
    "overlap": OVERLAPS,
    "context": CONTEXTS,
    "layout": LAYOUTS,
    "stage0": VAES,
}


class Registry:
    """What the options of some settings stand for. Imports the plug-ins among them. Raises ConfigError.

    strategies: the facts about all that is built in and about these plug-ins.
    """

    def __init__(self, settings: Settings) -> None:
        self.routing: Part[Routing] = find_part(settings, "routing", Routing, ROUTINGS)
        self.overlap: Part[Overlap] = find_part(settings, "overlap", Overlap, OVERLAPS)
        self.context: Part[ContextPolicy] = find_part(settings, "context", ContextPolicy, CONTEXTS)
        self.layout: Part[Layout] = find_part(settings, "layout", Layout, LAYOUTS)
        self.decoder = _make_decoder(settings)
        check_traits(self.routing.kind, RoutingTraits)
        check_traits(self.overlap.kind, OverlapTraits)
        check_traits(self.context.kind, ContextTraits)
        self.strategies = Strategies(
            {**OVERLAPS, settings.overlap.name: self.overlap.kind},
            {**ROUTINGS, settings.routing.name: self.routing.kind},
            {**CONTEXTS, settings.context.name: self.context.kind},
            {settings.stage0.name: self.decoder},
        )


def _make_decoder(settings: Settings) -> VaeLoader:
    part = find_part(settings, "stage0", VaeLoader, VAES)
    try:
        return part.make()
    except (Exception, SystemExit) as error:  # foreign code may fail in any way
        raise ConfigError(
            f"stage0={settings.stage0.name}: {part.kind.__name__}() failed: {named_line(error)}"
        ) from error


def check(settings: Settings, modes: Collection[str]) -> tuple[WanConfig, Registry]:
    """Check every rule; return the generator's sizes and the chosen classes. Raises ConfigError with one line.

    Args:
        modes: the options of `run`.
    """
    known: dict[str, Collection[str]] = {group: known_options(settings, group, BUILT_IN[group]) for group in BUILT_IN}
    config = validate(settings)
    check_options(settings, {**known, "run": modes, "text_encoder": {"umt5"}})
    registry = Registry(settings)
    check_routing(settings, registry.routing.kind.home)
    check_overlap(settings, registry.overlap.kind.queues)
    if (trained := settings.model.context) not in known["context"]:
        choices = ", ".join(sorted(known["context"]))
        raise ConfigError(f"model.context={trained}: neither built in nor a plug-in's; choices: {choices}")
    check_context(settings, config, registry.context.kind.rebuilds)
    _check_source(settings, registry.context.kind)
    _check_fault(settings)
    return config, registry


def _check_source(settings: Settings, context: type[ContextPolicy]) -> None:
    source = settings.source
    if not source.active or not SOURCE_MODES[source.mode].is_history:
        return
    if context.needs_pixels or not (context.clean_pass or context.rebuilds):
        possible = (
            name for name, kind in CONTEXTS.items() if kind.clean_pass or (kind.rebuilds and not kind.needs_pixels)
        )
        raise ConfigError(
            f"context={settings.context.name}: source.mode={source.mode} takes its history from latents; "
            f"possible: {', '.join(possible)}; or source.mode=noise"
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
            f"debug.fault.rank={fault.rank}: {fault.kind} applies to the leader's answer; possible: {LEADER}"
        )
    if settings.layout.backend == "none" and fault.kind not in INLINE_FAULTS:
        possible = ", ".join(sorted({NO_FAULT, *INLINE_FAULTS}))
        raise ConfigError(
            f"debug.fault.kind={fault.kind}: layout={settings.layout.name} has no mesh process; possible: {possible}"
        )
