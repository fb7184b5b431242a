"""What a job's plan foretold, beside what its runs measured. Reads plan.json; knows nothing of how plans are made."""

from pathlib import Path

import msgspec

from pp1_orchestrator.telemetry.summary import Summary

FAR = 0.15
"""A plan that is farther off than this share of what was measured is remarked upon."""
PEAK, MEGA = "peak", 1e6


class PlannedRank(msgspec.Struct, frozen=True):
    memory: dict[str, int]


class JobPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The part of plan.json that is compared with the measurement. predicted_period_ms: by overlap."""

    predicted_period_ms: dict[str, float] = {}
    ranks: dict[str, PlannedRank] = {}
    limited_by: str = ""


class Pair(msgspec.Struct, frozen=True):
    """One figure, as planned and as measured."""

    name: str
    unit: str
    planned: float
    measured: float

    @property
    def off(self) -> float:
        return self.planned / self.measured - 1

    @property
    def far(self) -> bool:
        return abs(self.off) > FAR


def read_job_plan(folder: Path) -> JobPlan | None:
    """None without a readable plan: a prediction is optional."""
    try:
        return msgspec.json.decode((folder / "plan.json").read_bytes(), type=JobPlan)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def compare_with_plan(plan: JobPlan, overlap: str, measured: Summary) -> list[Pair]:
    """The figures that both have: the period, and the memory of each rank's components."""
    pairs = [Pair("period", "ms", plan.predicted_period_ms.get(overlap, 0.0), measured.phases_ms.period.p50)]
    for rank, placement in plan.ranks.items():
        found = sum(size for name, size in measured.memory.get(rank, {}).items() if name != PEAK)
        pairs.append(Pair(f"memory of rank {rank}", "MB", sum(placement.memory.values()) / MEGA, found / MEGA))
    return [pair for pair in pairs if pair.planned > 0 and pair.measured > 0]
