"""What the report says: the recommended job and why, failures, what was measured on. Knows no files or markup."""

import math
from collections.abc import Sequence

import msgspec

from pp1_orchestrator.report.jobs import Job, MachineInfo, differing_keys, key_of, live_command
from pp1_orchestrator.report.table import MEGA, Table, build_table, prompt_latency, total_bytes
from pp1_orchestrator.telemetry.summary import Summary

NOISE = 0.03
"""Two runs of the same configuration differ by this much, so a smaller lead in frame rate says nothing."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A job that may be recommended: its median prompt latency, and the components of all ranks in bytes.

    as_trained: it runs the context and the cache that the model's weights were trained for. Others change the video.
    """

    number: int
    label: str
    fps: float
    latency_ms: float | None
    memory_bytes: int
    as_trained: bool = True


class Recommendation(msgspec.Struct, frozen=True):
    label: str
    reason: str
    command: str
    caution: str | None


class Content(msgspec.Struct, frozen=True):
    """The report's content. common: overrides of all jobs. recommendation: None where nothing was measured."""

    common: tuple[str, ...]
    recommendation: Recommendation | None
    table: Table
    videos: str | None
    failures: tuple[Job, ...]
    measured_on: tuple[tuple[str, str], ...]


def build_content(jobs: Sequence[Job], machine: MachineInfo) -> Content:
    keys = differing_keys([job.record.overrides for job in jobs])
    first = jobs[0].record.overrides if jobs else []
    return Content(
        common=tuple(override for override in first if key_of(override) not in keys),
        recommendation=_recommend(jobs),
        table=build_table(jobs),
        videos=_videos(jobs),
        failures=tuple(job for job in jobs if job.error is not None),
        measured_on=_measured_on(jobs, machine),
    )


def ranked(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The jobs that are tied with the fastest one: those as trained first, then by latency, memory and order."""
    fastest = max((c.fps for c in candidates), default=0.0)
    return sorted((c for c in candidates if c.fps >= fastest * (1 - NOISE)), key=_sort_key)


def _sort_key(candidate: Candidate) -> tuple[bool, float, int, int]:
    latency = math.inf if candidate.latency_ms is None else candidate.latency_ms
    return not candidate.as_trained, latency, candidate.memory_bytes, candidate.number


def caution(candidates: Sequence[Candidate]) -> str | None:
    """What to check before using the first of `ranked`: speed says nothing about another context's or cache's video."""
    best = ranked(candidates)[0]
    if best.as_trained:
        return None
    text = "Its context or cache is not the one that the model was trained for: look at its stream.mp4 first."
    others = ranked([c for c in candidates if c.as_trained])
    return f"{text} The best with that one: {others[0].label}, {others[0].fps:.1f} FPS." if others else text


def reason(candidates: Sequence[Candidate]) -> str:
    """Why the first of `ranked` is the first, in one sentence. Raises ValueError without a candidate."""
    if not candidates:
        raise ValueError("no candidate: nothing was measured")
    best, *tied = ranked(candidates)
    if tied:
        return _tie(best, tied)
    others = [c for c in candidates if c != best]
    if not others:
        return f"The only job with a frame rate: {best.fps:.1f} FPS."
    second = max(others, key=lambda c: c.fps)
    lead = 100 * (best.fps / second.fps - 1)
    return f"The fastest: {best.fps:.1f} FPS, {lead:.0f} % more than the next, {second.label} with {second.fps:.1f}."


def _tie(best: Candidate, tied: Sequence[Candidate]) -> str:
    speeds = [c.fps for c in (best, *tied)]
    start = (
        f"{len(speeds)} jobs are tied at {min(speeds):.1f} to {max(speeds):.1f} FPS (within {100 * NOISE:.0f} % of the "
        "fastest, which is noise); this one"
    )
    second = tied[0]
    if best.as_trained != second.as_trained:
        trained = "the context and cache that the model was trained for"
        return f"{start} is the only one with {trained} (next: {second.label})."
    if best.latency_ms != second.latency_ms and best.latency_ms is not None:
        other = "none was measured" if second.latency_ms is None else f"{second.latency_ms:.1f} ms"
        return f"{start} has the lowest prompt latency: {best.latency_ms:.1f} ms (next: {second.label}, {other})."
    if best.memory_bytes != second.memory_bytes:
        memory = f"{best.memory_bytes / MEGA:.1f} MB (next: {second.label}, {second.memory_bytes / MEGA:.1f} MB)"
        return f"{start} needs the least memory at the same prompt latency: {memory}."
    return f"{start} ran first; prompt latency and memory are the same."


def _as_trained(job: Job, summary: Summary) -> bool:
    pairs = ((job.record.trained_context, summary.config.context), (job.record.trained_cache, summary.config.cache))
    return all(trained in (None, chosen) for trained, chosen in pairs)


def _recommend(jobs: Sequence[Job]) -> Recommendation | None:
    candidates = _candidates(jobs)
    if not candidates:
        return None
    best = ranked(candidates)[0]
    overrides = next(job.record.overrides for job in jobs if job.record.number == best.number)
    return Recommendation(best.label, reason(candidates), live_command(overrides), caution(candidates))


def _candidates(jobs: Sequence[Job]) -> list[Candidate]:
    """The jobs with a frame rate. A job that ended within its warm-up has none."""
    found: list[Candidate] = []
    for job in jobs:
        summary = job.measured
        if summary is None or summary.fps is None:
            continue
        latency = prompt_latency(summary.prompt_updates)
        found.append(
            Candidate(
                number=job.record.number,
                label=job.label,
                fps=summary.fps,
                latency_ms=None if latency is None else latency.median_ms,
                memory_bytes=total_bytes(summary),
                as_trained=_as_trained(job, summary),
            )
        )
    return found


def _videos(jobs: Sequence[Job]) -> str | None:
    """Which jobs made the same pixels; None where there are no two to compare."""
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


def _measured_on(jobs: Sequence[Job], machine: MachineInfo) -> tuple[tuple[str, str], ...]:
    records = [job.record for job in jobs if job.measured is not None]
    runs = [job.measured for job in jobs if job.measured is not None]
    facts = {
        "processor": [f"{machine.processor}, {machine.cores} cores"],
        "GPU": machine.gpus,
        "torch": [f"{machine.torch} (Python {machine.python})"],
        "date": [machine.date],
        "script": [record.script or "none: the prompt did not change" for record in records],
        "seed": [str(record.seed) for record in records],
        "chunks": [f"{run.chunks}, of which the first {run.warmup_chunks} are left out as warm-up" for run in runs],
    }
    return tuple((name, "; ".join(dict.fromkeys(values))) for name, values in facts.items() if values)
