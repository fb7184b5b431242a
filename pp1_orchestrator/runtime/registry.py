"""Which class stands for which word of configuration. The only place where names become classes."""

from __future__ import annotations

from collections.abc import Mapping

from pp1_orchestrator.models.vae.kinds import VAES
from pp1_orchestrator.runtime.layouts.base import Layout
from pp1_orchestrator.runtime.layouts.inline import InlineLayout
from pp1_orchestrator.runtime.layouts.spawned import SpawnedLayout
from pp1_orchestrator.runtime.layouts.torchrun import TorchrunLayout
from pp1_orchestrator.strategies.context.base import ContextPolicy
from pp1_orchestrator.strategies.context.clean_pass import CleanPass
from pp1_orchestrator.strategies.context.none import NoContext
from pp1_orchestrator.strategies.context.recompute import RecomputeAnchor, RecomputeLatent, RecomputeSynthetic
from pp1_orchestrator.strategies.overlap.base import Overlap
from pp1_orchestrator.strategies.overlap.decode_thread import DecodeThread
from pp1_orchestrator.strategies.overlap.loop_ahead import LoopAhead
from pp1_orchestrator.strategies.overlap.stage0_owned import Stage0Owned
from pp1_orchestrator.strategies.overlap.sync import Sync
from pp1_orchestrator.strategies.routing.base import Routing
from pp1_orchestrator.strategies.routing.hybrid_cache import HybridCache
from pp1_orchestrator.strategies.routing.mesh_encoder import MeshEncoder
from pp1_orchestrator.strategies.routing.rank0_encoder import Rank0Encoder

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
