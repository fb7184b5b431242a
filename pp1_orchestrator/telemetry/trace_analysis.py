"""Computes from a finished trace the queue depths, each chunk's period, and why a chunk was late."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from pp1_orchestrator.telemetry.spans import Span

TOLERANCE = 1.1
"""A chunk is late if its period is longer than this times the allowed one: a paced stream's periods vary around it."""
WAITS = frozenset({"mesh", "wait", "wait for link", "wait for decode"})
"""Spans in which a rank only waits for another one."""
NOTHING = "nothing to do"

Interval = tuple[int, int]


def counter_events(spans: Mapping[int, Sequence[Span]], fps: float) -> Iterator[dict[str, Any]]:
    """Counters and `late` marks, as trace events of rank 0. spans: by rank; fps: of the shown video."""
    own = spans.get(0, ())
    ends = {phase: {s.ids.get("chunk"): s.end_ns for s in own if s.phase == phase} for phase in ("build", "recv")}
    decoded = [span for span in own if span.phase == "decode" and "frames" in span.ids]
    starts = {span.ids.get("chunk"): span.start_ns for span in decoded}
    yield from _depth("in flight", ends["build"], ends["recv"])
    yield from _depth("results", ends["recv"], starts)
    for before, span in pairwise(sorted(decoded, key=lambda span: span.end_ns)):
        period_ms, allowed_ms = (span.end_ns - before.end_ns) / 1e6, 1e3 * float(span.ids["frames"]) / fps
        times = {"period": period_ms, "allowed": allowed_ms}
        yield {"ph": "C", "name": "period (ms)", "pid": 0, "ts": span.end_ns / 1e3, "args": times}
        if period_ms > TOLERANCE * allowed_ms:
            reason = _reason(spans, (before.end_ns, span.end_ns))
            args = {"chunk": span.ids["chunk"], "period_ms": period_ms, "allowed_ms": allowed_ms, **reason}
            mark = {"ph": "i", "s": "p", "name": "late", "cat": "late", "pid": 0, "tid": 0}
            yield mark | {"ts": span.end_ns / 1e3, "args": args}


def _depth(name: str, into: Mapping[Any, int], out_of: Mapping[Any, int]) -> Iterator[dict[str, Any]]:
    """A queue's depth over time, from when each chunk entered and left it."""
    through = into.keys() & out_of.keys()
    moves = [(into[chunk], 1) for chunk in through] + [(out_of[chunk], -1) for chunk in through]
    depth = 0
    for at_ns, step in sorted(moves):
        depth += step
        yield {"ph": "C", "name": f"queue: {name}", "pid": 0, "ts": at_ns / 1e3, "args": {"chunks": max(0, depth)}}


def _reason(spans: Mapping[int, Sequence[Span]], window: Interval) -> dict[str, Any]:
    """The phase and rank that took most of the window, or `NOTHING` where all ranks waited for longer."""
    inside: dict[tuple[str, int], list[Interval]] = {}
    for rank in sorted(spans):
        for span in spans[rank]:
            start, end = max(span.start_ns, window[0]), min(span.end_ns, window[1])
            if start < end and span.phase not in WAITS:
                inside.setdefault((span.phase, rank), []).append((start, end))
    took = {part: _covered(intervals) for part, intervals in inside.items()}
    took[NOTHING, 0] = window[1] - window[0] - _covered(i for intervals in inside.values() for i in intervals)
    (phase, rank), longest = max(took.items(), key=lambda item: item[1])
    return {"longest": phase, "rank": rank, "ms": longest / 1e6}


def _covered(intervals: Iterable[Interval]) -> int:
    """Nanoseconds covered by at least one interval."""
    total, until = 0, 0
    for start, end in sorted(intervals):
        total += max(0, end - max(start, until))
        until = max(until, end)
    return total
