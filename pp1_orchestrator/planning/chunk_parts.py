"""What a chunk's time is made of, and what limits the stream."""

from collections.abc import Mapping

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.planning.calibrate import Machine, Rates
from pp1_orchestrator.planning.cost_model import Phases
from pp1_orchestrator.planning.op_counter import OpCounts
from pp1_orchestrator.planning.part_profiles import Part
from pp1_orchestrator.planning.profile import ModelProfile
from pp1_orchestrator.planning.strategy_traits import ContextTraits, OverlapTraits

KINDS = ("products", "convolutions", "attention", "memory", "launching")
MESH_RANK, STAGE0 = "mesh rank", "rank 0"
Bounds = dict[str, dict[str, float]]
"""By place, then by kind of work: milliseconds of a chunk."""


def bounds_ms(settings: Settings, profile: ModelProfile, machine: Machine, context: ContextTraits) -> Bounds:
    """Of a mesh rank alone and of rank 0."""
    calls: dict[Part, float] = {"generator": float(len(settings.model.steps))}
    calls["context"] = 1.0 if context.clean_pass else context.rebuilds / settings.context.recompute_every
    mesh = _spent(profile, machine, calls)
    counts = [(profile.work[part], times) for part, times in calls.items()]
    link = sum(n * machine.link.collectives(work) for work, n in counts)
    stage0: dict[Part, float] = {part: 1.0 for part in ("decode", "encode") if part in profile.work}
    return {MESH_RANK: {**mesh, "link": 1e3 * link}, STAGE0: _spent(profile, machine, stage0)}


def limited_by(bounds: Bounds, phases: Phases, overlap: OverlapTraits) -> str:
    """The largest part of what each chunk waits for."""
    stage0 = phases.decode + phases.encode
    hidden = overlap.hides_decode and not phases.one_gpu
    if stage0 > phases.mesh and hidden:
        return f"decode: {_largest(bounds[STAGE0])} on rank 0"
    return f"{_largest(bounds[MESH_RANK])} on a mesh rank"


def _largest(spent: Mapping[str, float]) -> str:
    return max(spent, key=lambda kind: spent[kind])


def _spent(profile: ModelProfile, machine: Machine, calls: Mapping[Part, float]) -> dict[str, float]:
    total: dict[str, float] = dict.fromkeys(KINDS, 0.0)
    for part, times in calls.items():
        rates = machine.rates["generator" if part == "context" else part]
        for kind, seconds in _seconds(profile.work[part], rates).items():
            total[kind] += 1e3 * times * seconds
    return {kind: ms for kind, ms in total.items() if ms}


def _seconds(work: OpCounts, rates: Rates) -> dict[str, float]:
    def at(amount: int, rate: float) -> float:
        return amount / rate if amount else 0.0

    return {
        "products": at(work.flops_of("matmul"), rates.matmul_flops_s),
        "convolutions": at(work.flops_of("conv"), rates.conv_flops_s),
        "attention": at(work.flops_of("attention"), rates.attention_flops_s),
        "memory": at(work.other_bytes, rates.other_bytes_s),
        "launching": work.calls * rates.call_s,
    }
