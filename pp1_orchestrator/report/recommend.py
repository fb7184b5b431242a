"""The recommended job and why: the fastest, or the best by the rule of those that tie with it. Knows no files."""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from pp1_orchestrator.report.comparison import NOISE, Comparison, Estimate, compare, interval
from pp1_orchestrator.report.jobs import Job, live_command
from pp1_orchestrator.report.table import MEGA, prompt_latency, total_bytes
from pp1_orchestrator.telemetry.summary import Summary


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A job that may be recommended. tied: with the fastest one, which is tied with itself.

    latency_ms: its median prompt latency. memory_bytes: the components of all ranks. as_trained: it runs the context
    and the cache that the model's weights were trained for. Others change the video.
    """

    number: int
    label: str
    fps: Estimate
    tied: bool
    latency_ms: float | None
    memory_bytes: int
    as_trained: bool = True


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """tied: the labels of the others that could as well be the fastest."""

    number: int
    label: str
    fps: Estimate
    lead: Estimate | None
    tied: tuple[str, ...]
    reason: str
    command: str
    caution: str | None


def compare_jobs(jobs: Sequence[Job]) -> tuple[list[Job], Comparison | None]:
    """The jobs with a rate, and how they compare. A job that failed, or whose runs were too short, has none."""
    rated = [job for job in jobs if any(run.rate for run in job.runs)]
    if not rated:
        return [], None
    rounds = 1 + max(run.repeat for job in rated for run in job.runs)
    rates, errors = (np.full((len(rated), rounds), np.nan) for _ in range(2))
    for row, job in enumerate(rated):
        for run in job.runs:
            if run.rate is not None:
                rates[row, run.repeat], errors[row, run.repeat] = run.rate.log_fps, run.rate.error
    made = ~np.isnan(rates).all(axis=0)
    return rated, compare(rates[:, made], errors[:, made], [_delay(job) for job in rated])


def _delay(job: Job) -> float:
    """The median over its runs, as its rate is. A job whose load was not sampled counts as undisturbed."""
    delays = [run.load.delay for run in job.runs if run.load is not None]
    return float(np.median(delays)) if delays else 0.0


def _as_trained(job: Job, summary: Summary) -> bool:
    pairs = ((job.record.trained_context, summary.config.context), (job.record.trained_cache, summary.config.cache))
    return all(trained in (None, chosen) for trained, chosen in pairs)


def candidates_of(rated: Sequence[Job], comparison: Comparison) -> list[Candidate]:
    found: list[Candidate] = []
    for index, (job, estimate) in enumerate(zip(rated, comparison.estimates, strict=True)):
        summary = job.measured
        assert summary is not None  # it has runs
        latency = prompt_latency(summary.prompt_updates)
        found.append(
            Candidate(
                number=job.record.number,
                label=job.label,
                fps=estimate,
                tied=index in comparison.tied,
                latency_ms=None if latency is None else latency.median_ms,
                memory_bytes=total_bytes(summary),
                as_trained=_as_trained(job, summary),
            )
        )
    return found


def recommend(rated: Sequence[Job], comparison: Comparison) -> Recommendation:
    """Of the jobs with a rate."""
    candidates = candidates_of(rated, comparison)
    best, *tied = ranked(candidates)
    record = next(job.record for job in rated if job.record.number == best.number)
    return Recommendation(
        number=best.number,
        label=best.label,
        fps=best.fps,
        lead=None if tied else comparison.lead,
        tied=tuple(candidate.label for candidate in tied),
        reason=reason(candidates, comparison.lead),
        command=live_command(record.overrides, record.config_dir),
        caution=caution(candidates),
    )


def ranked(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The jobs that are tied with the fastest: as trained first, then those that measured as fast as it, within what
    can be seen, then by latency, memory and order."""
    fastest = max((c.fps.rate for c in candidates), default=0.0)

    def key(candidate: Candidate) -> tuple[bool, bool, float, int, int]:
        latency = math.inf if candidate.latency_ms is None else candidate.latency_ms
        slower = candidate.fps.rate < fastest * (1 - NOISE)
        return not candidate.as_trained, slower, latency, candidate.memory_bytes, candidate.number

    return sorted((c for c in candidates if c.tied), key=key)


def caution(candidates: Sequence[Candidate]) -> str | None:
    """What to check before using the first of `ranked`: speed says nothing about the video of others."""
    if ranked(candidates)[0].as_trained:
        return None
    text = "Its context or cache is not the one that the model was trained for: look at its stream.mp4 first."
    trained = [c for c in candidates if c.as_trained]
    if not trained:
        return text
    best = max(trained, key=lambda c: c.fps.rate)
    return f"{text} The best with that one: {best.label}, {best.fps.rate:.1f} FPS."


def reason(candidates: Sequence[Candidate], lead: Estimate | None) -> str:
    """Why the first of `ranked` is the first, in one sentence. Raises ValueError without a candidate."""
    if not candidates:
        raise ValueError("no candidate: nothing was measured")
    best, *tied = ranked(candidates)
    if tied:
        return _tie(best, tied, max(c.fps.rate for c in candidates))
    fps = f"{best.fps.rate:.1f} FPS ({interval(best.fps)})"
    others = [c for c in candidates if c is not best]
    if not others or lead is None:
        return f"The only job with a frame rate: {fps}."
    second = max(others, key=lambda c: c.fps.rate)
    more = f"{100 * lead.rate:.0f} % more ({interval(lead, 100, 0)}) than the next"
    return f"The fastest: {fps}, {more}, {second.label} with {second.fps.rate:.1f} ({interval(second.fps)})."


def _tie(best: Candidate, tied: Sequence[Candidate], fastest: float) -> str:
    rates, second = [c.fps.rate for c in (best, *tied)], tied[0]
    start = (
        f"A tie: {len(rates)} jobs, with {min(rates):.1f} to {max(rates):.1f} FPS, differ by less than can be told "
        "apart; this one"
    )
    if best.as_trained != second.as_trained:
        trained = "the context and cache that the model was trained for"
        return f"{start} is the only one with {trained} (next: {second.label})."
    if (best.fps.rate < fastest * (1 - NOISE)) != (second.fps.rate < fastest * (1 - NOISE)):
        return f"{start} measured fastest: {best.fps.rate:.1f} FPS (next: {second.label}, {second.fps.rate:.1f})."
    if best.latency_ms != second.latency_ms and best.latency_ms is not None:
        other = "none was measured" if second.latency_ms is None else f"{second.latency_ms:.1f} ms"
        return f"{start} has the lowest prompt latency: {best.latency_ms:.1f} ms (next: {second.label}, {other})."
    if best.memory_bytes != second.memory_bytes:
        memory = f"{best.memory_bytes / MEGA:.1f} MB (next: {second.label}, {second.memory_bytes / MEGA:.1f} MB)"
        return f"{start} needs the least memory at the same prompt latency: {memory}."
    return f"{start} comes first in the sweep; prompt latency and memory are the same."
