"""Which class stands for which word of configuration. The only place where names become classes."""

from __future__ import annotations

from collections.abc import Mapping

from pp1_orchestrator.models.vae.kinds import VAES
from pp1_orchestrator.runtime.layouts.base import Layout
from pp1_orchestrator.runtime.layouts.inline import InlineLayout
from pp1_orchestrator.runtime.layouts.spawned import SpawnedLayout
from pp1_orchestrator.runtime.layouts.torchrun import TorchrunLayout
from pp1_orchestrator.stage0.context import (
    CleanPass,
    ContextPolicy,
    NoContext,
    RecomputeAnchor,
    RecomputeLatent,
    RecomputeSynthetic,
)
from pp1_orchestrator.stage0.overlap.base import Overlap
from pp1_orchestrator.stage0.overlap.strategies import DecodeThread, LoopAhead, Stage0Owned, Sync
from pp1_orchestrator.stage0.routing import HybridCache, MeshEncoder, Rank0Encoder, Routing

ROUTINGS: Mapping[str, type[Routing]] = {
    "rank0_encoder": Rank0Encoder,
    "mesh_encoder": MeshEncoder,
    "hybrid_cache": HybridCache,
}
OVERLAPS: Mapping[str, type[Overlap]] = {
    "sync": Sync,
    "stage0_owned": Stage0Owned,
    "loop_ahead": LoopAhead,
    "decode_thread": DecodeThread,
}
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

BUILT_IN: Mapping[str, Mapping[str, object]] = {
    "routing": ROUTINGS,
    "overlap": OVERLAPS,
    "context": CONTEXTS,
    "layout": LAYOUTS,
    "stage0": VAES,
    "text_encoder": {"umt5": None},
}
