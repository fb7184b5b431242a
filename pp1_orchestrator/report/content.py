"""What the report says: the recommendation, failures, what disturbed the measurement, what was measured on.

Knows no files or markup.
"""

from collections.abc import Sequence

import msgspec

from pp1_orchestrator.report.jobs import Job, MachineInfo, differing_keys, key_of, without_sweep
from pp1_orchestrator.report.machine_load import LoadSummary
from pp1_orchestrator.report.recommend import Recommendation, compare_jobs, recommend
from pp1_orchestrator.report.sweep_manifest import Manifest
from pp1_orchestrator.report.table import Estimates, Table, build_plan_table, build_table, far_plans


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """The report's content. common: overrides of all jobs. recommendation: None where nothing was measured.

    warnings: what makes the figures less sure. plan: None where no job has one. plan_remark: which plans are far off.
    """

    common: tuple[str, ...]
    recommendation: Recommendation | None
    warnings: tuple[str, ...]
    table: Table
    estimates: Estimates
    plan: Table | None
    plan_remark: str | None
    videos: str | None
    failures: tuple[Job, ...]
    measured_on: tuple[tuple[str, str], ...]


def build_content(jobs: Sequence[Job], machine: MachineInfo, manifest: Manifest | None = None) -> Content:
    keys = differing_keys([job.record.overrides for job in jobs])
    first = without_sweep(jobs[0].record.overrides) if jobs else []
    rated, comparison = compare_jobs(jobs)
    found = comparison.estimates if comparison else ()
    estimates = {job.record.number: estimate for job, estimate in zip(rated, found, strict=True)}
    return Content(
        common=tuple(override for override in first if key_of(override) not in keys),
        recommendation=recommend(rated, comparison) if comparison else None,
        warnings=tuple(_warnings(jobs, manifest)),
        table=build_table(jobs, estimates),
        estimates=estimates,
        plan=build_plan_table(jobs),
        plan_remark=_plan_remark(jobs),
        videos=_videos(jobs),
        failures=tuple(job for job in jobs if job.error is not None),
        measured_on=_measured_on(jobs, machine, comparison.noise if comparison else None),
    )


def _loads(jobs: Sequence[Job]) -> list[LoadSummary]:
    return [run.load for job in jobs for run in job.runs if run.load is not None]


def _warnings(jobs: Sequence[Job], manifest: Manifest | None) -> list[str]:
    found: list[str] = []
    if manifest is not None and manifest.before is not None and manifest.before.busy:
        found.append(f"The machine was busy before the sweep began: {manifest.before}.")
    loads = _loads(jobs)
    if busy := [load for load in loads if load.busy]:
        worst = max(busy, key=lambda load: load.others + load.stolen)
        found.append(
            f"The machine was busy in {len(busy)} of {len(loads)} runs: at most {worst}. What that may have cost a job "
            "is part of its interval; without other work, more can be told apart."
        )
    wanted = manifest.repeats if manifest else 1
    if fewer := [job.label for job in jobs if 0 < len(job.runs) < wanted]:
        found.append(
            f"Fewer runs than sweep.repeats={wanted}, because the sweep was stopped or sweep.budget_s was spent: "
            f"{_listed(fewer)}. The same command with hydra.sweep.dir set to this folder makes the others."
        )
    restless = [job.label for job in jobs if any(run.rate is not None and not run.rate.settled for run in job.runs)]
    if restless:
        found.append(f"The pace was still changing half-way: {_listed(restless)}. Make more chunks (run.chunks).")
    return found


def _plan_remark(jobs: Sequence[Job]) -> str | None:
    far = far_plans(jobs)
    if not far:
        return None
    busy = any(load.busy for load in _loads(jobs))
    cause = " The machine was busy, and a plan is for one that does nothing else." if busy else ""
    return f"Plan and measurement part by more than 15 % in {_listed(far)}.{cause}"


def _listed(labels: Sequence[str]) -> str:
    shown = 4
    return "; ".join(labels[:shown]) + (f" and {len(labels) - shown} more" if len(labels) > shown else "")


def _videos(jobs: Sequence[Job]) -> str | None:
    """Which jobs made the same pixels; None where there are no two to compare."""
    changing = [job.label for job in jobs if len({run.summary.pixels_sha256 for run in job.runs}) > 1]
    if changing:
        return f"The runs of one job made different videos: {_listed(changing)}."
    by_digest: dict[str, list[int]] = {}
    for job in jobs:
        if job.measured is not None:
            by_digest.setdefault(job.measured.pixels_sha256, []).append(job.record.number)
    if sum(map(len, by_digest.values())) < 2:
        return None
    if len(by_digest) == 1:
        return "All jobs that were measured made the same video, pixel by pixel."
    groups = "; ".join(", ".join(map(str, numbers)) for numbers in by_digest.values())
    return f"The jobs made {len(by_digest)} different videos. Jobs with the same one: {groups}."


def _measured_on(jobs: Sequence[Job], machine: MachineInfo, noise: float | None) -> tuple[tuple[str, str], ...]:
    records = [job.record for job in jobs if job.measured is not None]
    runs = [run for job in jobs for run in job.runs]
    loads = _loads(jobs)
    facts = {
        "processor": [f"{machine.processor}, {machine.cores} cores"],
        "GPU": machine.gpus,
        "torch": [f"{machine.torch} (Python {machine.python})"],
        "date": [machine.date],
        "script": [record.script or "none: the prompt did not change" for record in records],
        "seed": [str(record.seed) for record in records],
        "chunks": [_chunks_text([run.summary.chunks for run in runs])] if runs else [],
        "warm-up": [_chunks_text([run.summary.warmup_chunks for run in runs]) + ", left out"] if runs else [],
        "noise": [f"two runs of one job differ by some {100 * noise:.1f} %"] if noise is not None else [],
        "load": [_load_text(loads)] if loads else [],
    }
    return tuple((name, "; ".join(dict.fromkeys(values))) for name, values in facts.items() if values)


def _chunks_text(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low} chunks" if low == high else f"{low} to {high} chunks"


def _load_text(loads: Sequence[LoadSummary]) -> str:
    others, stolen, average = (
        sum(getattr(load, name) for load in loads) / len(loads) for name in ("others", "stolen", "load_average")
    )
    cores = loads[0].cores
    held_up = sum(load.delay for load in loads) / len(loads)
    return (
        f"other processes took {others:.2f} of {cores} cores, a hypervisor {stolen:.2f}; load average {average:.1f}; "
        f"others can have held up the stream for {100 * held_up:.0f} % of the time"
    )
