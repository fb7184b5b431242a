"""Merges the ranks' parts into trace.json, in the Chrome trace format, which ui.perfetto.dev opens.

One process track a rank, one thread track a phase, and arrows between ranks. Knows nothing of how spans are recorded.
"""

import logging
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from pp1_orchestrator.telemetry.spans import PART_SUFFIX, FlowPoint, Span, TracePart
from pp1_orchestrator.telemetry.trace_analysis import counter_events

log = logging.getLogger(__name__)

TraceEvent = dict[str, Any]
_ROLES = {0: "stage 0", 1: "leader"}
_TRACKS_A_RANK = 1000
"""Thread ids are unique in the whole trace: rank × this + number of the track."""


def merge_trace(folder: Path, fps: float) -> Path:
    """Merge the parts in `folder` into trace.json, remove them, and return its path. An unreadable part is left out.

    fps: of the shown video. A chunk is late when it took longer than its frames are shown.
    """
    paths = sorted(folder.glob(f"*{PART_SUFFIX}"))
    parts = [part for part in map(_read, paths) if part is not None]
    target = folder / "trace.json"
    target.write_bytes(msgspec.json.encode(build_trace(parts, fps)))
    for path in paths:
        path.unlink()
    return target


def build_trace(parts: Iterable[TracePart], fps: float) -> dict[str, Any]:
    """The trace as a JSON object: names first, then all events by time, in microseconds."""
    ranks: dict[int, list[TracePart]] = {}
    for part in parts:
        ranks.setdefault(part.rank, []).append(part)
    tracks = [_RankTracks(rank, ranks[rank]) for rank in sorted(ranks)]
    names = [event for rank in tracks for event in rank.names()]
    events = [event for rank in tracks for event in rank.events()]
    spans = {rank: [span for part in parts for span in part.spans] for rank, parts in ranks.items()}
    events += counter_events(spans, fps)
    dropped = {str(rank.rank): rank.dropped for rank in tracks}
    return {
        "displayTimeUnit": "ms",
        "otherData": {"clock": "CLOCK_MONOTONIC", "dropped_by_rank": dropped},
        "traceEvents": names + sorted(_complete_arrows(events), key=_order),
    }


class _Track:
    """One row of the trace: spans of one phase that do not overlap, by time. number: among the rows of this phase."""

    def __init__(self, tid: int, phase: str, number: int) -> None:
        self.tid, self.phase = tid, phase
        self.name = phase if number == 1 else f"{phase} ({number})"
        self.spans: list[Span] = []

    def is_free(self, at_ns: int) -> bool:
        return not self.spans or self.spans[-1].end_ns <= at_ns

    def holds(self, at_ns: int) -> bool:
        """Whether a span covers this instant."""
        after = self._first_after(at_ns)
        return after > 0 and at_ns <= self.spans[after - 1].end_ns

    def nearest(self, at_ns: int, end: Literal["out", "in"]) -> int | None:
        """For an instant between spans: the end of the previous span (out), or the start of the next one (in)."""
        after = self._first_after(at_ns)
        if end == "out":
            return self.spans[after - 1].end_ns if after > 0 else None
        return self.spans[after].start_ns if after < len(self.spans) else None

    def _first_after(self, at_ns: int) -> int:
        return bisect_right(self.spans, at_ns, key=lambda span: span.start_ns)


class _RankTracks:
    """One rank's spans on tracks: one track a phase, more where spans of a phase overlap."""

    def __init__(self, rank: int, parts: list[TracePart]) -> None:
        self.rank = rank
        self.dropped = sum(part.dropped for part in parts)
        self._flows = [flow for part in parts for flow in part.flows]
        self._tracks: list[_Track] = []
        for span in sorted((s for part in parts for s in part.spans), key=lambda s: (s.start_ns, s.end_ns)):
            self._free_track(span).spans.append(span)

    def names(self) -> Iterator[TraceEvent]:
        role = _ROLES.get(self.rank, "mesh")
        yield self._meta("process_name", {"name": f"rank {self.rank} ({role})"})
        yield self._meta("process_sort_index", {"sort_index": self.rank})
        for track in self._tracks:
            yield self._meta("thread_name", {"name": track.name}, track.tid)
            yield self._meta("thread_sort_index", {"sort_index": track.tid}, track.tid)

    def events(self) -> Iterator[TraceEvent]:
        for track in self._tracks:
            for span in track.spans:
                times = {"ts": span.start_ns / 1e3, "dur": (span.end_ns - span.start_ns) / 1e3}
                what = {"ph": "X", "name": span.phase, "cat": "phase", "args": span.ids}
                yield what | {"pid": self.rank, "tid": track.tid} | times
        for flow in self._flows:
            place = self._inside(flow) if flow.phase is not None else self._beside(flow)
            if place is not None:  # None: the recorder no longer had the span
                yield self._flow_event(flow, *place)

    def _free_track(self, span: Span) -> _Track:
        same_phase = [track for track in self._tracks if track.phase == span.phase]
        for track in same_phase:
            if track.is_free(span.start_ns):
                return track
        tid = _TRACKS_A_RANK * self.rank + len(self._tracks) + 1
        self._tracks.append(_Track(tid, span.phase, len(same_phase) + 1))
        return self._tracks[-1]

    def _inside(self, flow: FlowPoint) -> tuple[int, int] | None:
        """Thread id and time of a flow point that lies in a span of its phase."""
        tracks = (track for track in self._tracks if track.phase == flow.phase)
        return next(((track.tid, flow.at_ns) for track in tracks if track.holds(flow.at_ns)), None)

    def _beside(self, flow: FlowPoint) -> tuple[int, int] | None:
        """Thread id and time of a flow point without a phase: moved to this rank's nearest span."""
        near = [(track.nearest(flow.at_ns, flow.end), track.tid) for track in self._tracks]
        places = [(time, tid) for time, tid in near if time is not None]
        if not places:
            return None
        time, tid = max(places) if flow.end == "out" else min(places)
        return tid, time

    def _flow_event(self, flow: FlowPoint, tid: int, at_ns: int) -> TraceEvent:
        arrow = {"name": flow.kind, "cat": "flow", "id": flow.call_id}
        end = {"ph": "s"} if flow.end == "out" else {"ph": "f", "bp": "e"}
        return arrow | end | {"pid": self.rank, "tid": tid, "ts": at_ns / 1e3}

    def _meta(self, name: str, args: dict[str, Any], tid: int = 0) -> TraceEvent:
        return {"ph": "M", "name": name, "pid": self.rank, "tid": tid, "args": args}


def _read(path: Path) -> TracePart | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=TracePart)
    except (OSError, msgspec.DecodeError) as error:
        log.warning("trace part %s is left out: %s", path.name, error)
        return None


def _complete_arrows(events: list[TraceEvent]) -> list[TraceEvent]:
    """All events except arrows without one of their ends."""
    ends = {ph: {(e["name"], e["id"]) for e in events if e["ph"] == ph} for ph in "sf"}
    whole = ends["s"] & ends["f"]
    return [event for event in events if event["ph"] not in "sf" or (event["name"], event["id"]) in whole]


def _order(event: TraceEvent) -> tuple[float, float]:
    """By time; of several at the same instant, the longest span first: it contains the others."""
    return event["ts"], -event.get("dur", -1.0)
