"""Which class stands for which word of configuration. The only place where names become classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.measure.spans import SpanRecorder
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.runtime.layouts.base import Layout
from pp1_orchestrator.runtime.layouts.inline import InlineLayout
from pp1_orchestrator.runtime.layouts.spawned import SpawnedLayout
from pp1_orchestrator.strategies.context.base import ContextPolicy
from pp1_orchestrator.strategies.context.clean_pass import CleanPass
from pp1_orchestrator.strategies.overlap.base import Overlap
from pp1_orchestrator.strategies.overlap.stage0_owned import Stage0Owned
from pp1_orchestrator.strategies.overlap.sync import Sync
from pp1_orchestrator.strategies.routing.base import Routing
from pp1_orchestrator.strategies.routing.rank0_encoder import Encoder, Rank0Encoder
from pp1_orchestrator.transport.link import MeshLink

ROUTINGS: Mapping[str, Callable[[Encoder], Routing]] = {"rank0_encoder": Rank0Encoder}
OVERLAPS: Mapping[str, Callable[[MeshLink, SpanRecorder], Overlap]] = {"sync": Sync, "stage0_owned": Stage0Owned}
CONTEXTS: Mapping[str, Callable[[], ContextPolicy]] = {"clean_pass": CleanPass}
LAYOUTS: Mapping[str, Callable[[Settings, WanConfig], Layout]] = {"cpu": SpawnedLayout, "inline": InlineLayout}

BUILT_IN: Mapping[str, Mapping[str, object]] = {
    "routing": ROUTINGS,
    "overlap": OVERLAPS,
    "context": CONTEXTS,
    "layout": LAYOUTS,
    "stage0": {"wan_vae": None},
}
