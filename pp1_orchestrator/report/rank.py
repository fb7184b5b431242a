"""Which of the measured jobs to recommend, and why. Pure functions over a few figures; knows no files."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from .figures import MEGA

NOISE = 0.03
"""Two runs of one configuration differ by this much; a smaller lead in frames a second says nothing."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """latency_ms: median from a prompt to its pixels. memory_bytes: components of all ranks.

    as_trained: with the context that the model's weights were trained for; another one makes another video.
    """

    number: int
    label: str
    fps: float
    latency_ms: float | None
    memory_bytes: int
    as_trained: bool = True


def ranked(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The jobs that are tied with the fastest one: those as trained first, then by latency, memory and order."""
    fastest = max((c.fps for c in candidates), default=0.0)
    return sorted((c for c in candidates if c.fps >= fastest * (1 - NOISE)), key=_standing)


def _standing(candidate: Candidate) -> tuple[bool, float, int, int]:
    latency = math.inf if candidate.latency_ms is None else candidate.latency_ms
    return not candidate.as_trained, latency, candidate.memory_bytes, candidate.number


def caution(candidates: Sequence[Candidate]) -> str | None:
    """What to look at before the first of `ranked` is used: speed says nothing about another context's pictures."""
    best = ranked(candidates)[0]
    if best.as_trained:
        return None
    says = "Its context is not the one that the model was trained for: look at its stream.mp4 first."
    others = ranked([c for c in candidates if c.as_trained])
    return f"{says} The best with that one: {others[0].label}, {others[0].fps:.1f} FPS." if others else says


def reason(candidates: Sequence[Candidate]) -> str:
    """Why the first of `ranked` is the first, in a sentence with the figures. ValueError without a candidate."""
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
        return f"{start} is the only one with the context that the model was trained for (next: {second.label})."
    if best.latency_ms != second.latency_ms and best.latency_ms is not None:
        other = "none was measured" if second.latency_ms is None else f"{second.latency_ms:.1f} ms"
        return f"{start} has the lowest prompt latency: {best.latency_ms:.1f} ms (next: {second.label}, {other})."
    if best.memory_bytes != second.memory_bytes:
        memory = f"{best.memory_bytes / MEGA:.1f} MB (next: {second.label}, {second.memory_bytes / MEGA:.1f} MB)"
        return f"{start} needs the least memory at the same prompt latency: {memory}."
    return f"{start} ran first; prompt latency and memory are the same."
