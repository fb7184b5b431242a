"""Everything that the report says, ready to be written: no file and no markup is known here."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .figures import prompt_latency, total_bytes
from .folder import Job
from .machine import Machine
from .overrides import differing, key_of, live_command
from .rank import Candidate, caution, ranked, reason
from .table import Table, build_table, labels


class Recommendation(msgspec.Struct, frozen=True):
    label: str
    reason: str
    command: str
    caution: str | None


class Failure(msgspec.Struct, frozen=True):
    number: int
    label: str
    error: str


class Content(msgspec.Struct, frozen=True):
    """common: the overrides that all jobs have. recommendation: None where nothing was measured."""

    common: tuple[str, ...]
    recommendation: Recommendation | None
    table: Table
    videos: str | None
    failures: tuple[Failure, ...]
    measured_on: tuple[tuple[str, str], ...]


def build_content(jobs: Sequence[Job], machine: Machine) -> Content:
    names = labels(jobs)
    keys = differing([job.record.overrides for job in jobs])
    everywhere = jobs[0].record.overrides if jobs else []
    return Content(
        common=tuple(override for override in everywhere if key_of(override) not in keys),
        recommendation=_recommend(jobs, names),
        table=build_table(jobs),
        videos=_videos(jobs),
        failures=tuple(
            Failure(job.record.number, name, job.error)
            for job, name in zip(jobs, names, strict=True)
            if job.error is not None
        ),
        measured_on=_measured_on(jobs, machine),
    )


def candidates(jobs: Sequence[Job], names: Sequence[str]) -> list[Candidate]:
    """The jobs that can be recommended. One that ended within its warm-up has no frame rate and can't."""
    found: list[Candidate] = []
    for job, name in zip(jobs, names, strict=True):
        summary = job.figures
        if summary is None or summary.fps is None:
            continue
        latency = prompt_latency(summary.prompt_updates)
        found.append(
            Candidate(
                number=job.record.number,
                label=name,
                fps=summary.fps,
                latency_ms=None if latency is None else latency.median_ms,
                memory_bytes=total_bytes(summary),
                as_trained=job.record.trained_context in (None, summary.config.context),
            )
        )
    return found


def _recommend(jobs: Sequence[Job], names: Sequence[str]) -> Recommendation | None:
    found = candidates(jobs, names)
    if not found:
        return None
    best = ranked(found)[0]
    overrides = next(job.record.overrides for job in jobs if job.record.number == best.number)
    return Recommendation(best.label, reason(found), live_command(overrides), caution(found))


def _videos(jobs: Sequence[Job]) -> str | None:
    """Which jobs made the same pixels; None where there are no two to compare."""
    made: dict[str, list[int]] = {}
    for job in jobs:
        if job.figures is not None:
            made.setdefault(job.figures.pixels_sha256, []).append(job.record.number)
    count = sum(map(len, made.values()))
    if count < 2:
        return None
    if len(made) == 1:
        return "All jobs that were measured made the same video, pixel by pixel."
    groups = "; ".join(", ".join(map(str, numbers)) for numbers in made.values())
    return f"{len(made)} different videos were made. Jobs with the same one: {groups}."


def _measured_on(jobs: Sequence[Job], machine: Machine) -> tuple[tuple[str, str], ...]:
    ran = [job.record for job in jobs if job.figures is not None]
    runs = [job.figures for job in jobs if job.figures is not None]
    facts = {
        "processor": [f"{machine.processor}, {machine.cores} cores"],
        "GPU": machine.gpus,
        "torch": [f"{machine.torch} (Python {machine.python})"],
        "date": [machine.date],
        "script": [record.script or "none: one prompt all along" for record in ran],
        "seed": [str(record.seed) for record in ran],
        "chunks": [f"{run.chunks}, of which the first {run.warmup_chunks} are left out as warm-up" for run in runs],
    }
    return tuple((name, "; ".join(dict.fromkeys(values))) for name, values in facts.items() if values)
