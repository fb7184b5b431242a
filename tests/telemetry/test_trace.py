"""trace.json: what Perfetto needs of it."""

import json
from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pp1_orchestrator.telemetry.spans import Span, SpanRecorder, TracePart
from pp1_orchestrator.telemetry.trace import build_trace, merge_trace

MS = 1_000_000
FPS = 16


@pytest.fixture
def events(tmp_path):
    """The merged trace of two chunks that cross from rank 0 to the leader and back, with a second mesh rank beside."""
    stage0, leader, follower = (SpanRecorder(rank) for rank in range(3))
    for chunk in range(2):
        start, call = 1_000 * MS + chunk * 20 * MS, chunk + 1
        ids = {"chunk": chunk, "call_id": call, "epoch": 0}
        stage0.add("send", start, start + MS, **ids)
        stage0.flow("out", "envelope", call, phase="send", at_ns=start + 100)
        leader.add("recv", start + 1_000, start + 2 * MS, **ids)
        leader.flow("in", "envelope", call, phase="recv", at_ns=start + 2 * MS)
        for rank in (leader, follower):
            rank.add("denoise", start + 3 * MS, start + 9 * MS, **ids)
        leader.add("send", start + 10 * MS, start + 11 * MS, **ids)
        leader.flow("out", "result", call, phase="send", at_ns=start + 10 * MS)
        stage0.add("recv", start + 10 * MS, start + 12 * MS, **ids)
        stage0.flow("in", "result", call, phase="recv", at_ns=start + 12 * MS)
    for recorder in (follower, stage0, leader):
        recorder.write_part(tmp_path)
    trace = json.loads(merge_trace(tmp_path, FPS).read_text())
    return trace["traceEvents"]


def of(events, ph):
    return [event for event in events if event["ph"] == ph]


def test_part_files_are_gone_after_merging(events, tmp_path):
    assert [path.name for path in tmp_path.iterdir()] == ["trace.json"]


def test_each_rank_is_a_process_with_its_role(events):
    names = {e["pid"]: e["args"]["name"] for e in of(events, "M") if e["name"] == "process_name"}
    assert names == {0: "rank 0 (stage 0)", 1: "rank 1 (leader)", 2: "rank 2 (mesh)"}


def test_each_phase_of_a_rank_is_a_named_thread_of_its_own(events):
    threads = {(e["pid"], e["tid"]): e["args"]["name"] for e in of(events, "M") if e["name"] == "thread_name"}
    assert len({tid for _, tid in threads}) == len(threads)
    for span in of(events, "X"):
        assert threads[span["pid"], span["tid"]] == span["name"]


def test_spans_have_microseconds_and_ids(events):
    first = next(e for e in of(events, "X") if e["pid"] == 1 and e["name"] == "denoise")
    assert first["ts"] == pytest.approx(1_003_000.0)
    assert first["dur"] == pytest.approx(6_000.0)
    assert first["args"] == {"chunk": 0, "call_id": 1, "epoch": 0}


def test_events_are_sorted_by_time(events):
    times = [e["ts"] for e in events if e["ph"] != "M"]
    assert times == sorted(times)
    assert len(times) == 2 * (6 + 4)


def test_every_arrow_has_two_ends_that_match(events):
    starts, ends = of(events, "s"), of(events, "f")
    keys = [{(e["cat"], e["name"], e["id"]): e for e in group} for group in (starts, ends)]
    assert (
        keys[0].keys() == keys[1].keys() == {("flow", kind, call) for kind in ("envelope", "result") for call in (1, 2)}
    )
    for key, start in keys[0].items():
        end = keys[1][key]
        assert start["ts"] <= end["ts"]
        assert end["bp"] == "e"
        assert (start["pid"], end["pid"]) == ((0, 1) if key[1] == "envelope" else (1, 0))


def test_every_arrow_end_lies_in_a_span_of_its_track(events):
    for flow in of(events, "s") + of(events, "f"):
        assert any(
            span["tid"] == flow["tid"] and span["ts"] <= flow["ts"] <= span["ts"] + span["dur"]
            for span in of(events, "X")
        )


def test_an_arrow_with_one_end_is_left_out(tmp_path):
    recorder = SpanRecorder(0)
    with recorder.span("send"):
        recorder.flow("out", "envelope", 1)
    recorder.write_part(tmp_path)
    events = json.loads(merge_trace(tmp_path, FPS).read_text())["traceEvents"]
    assert not of(events, "s")
    assert len(of(events, "X")) == 1


def test_an_arrow_beside_spans_joins_the_last_one_before_it_and_the_next_one_after_it():
    out = SpanRecorder(0)
    for phase, start in (("build", 0), ("send", 10 * MS), ("decode", 30 * MS)):
        out.add(phase, start, start + MS)
    out.flow("out", "envelope", 1, at_ns=12 * MS)
    into = SpanRecorder(1)
    for phase, start in (("wait", 5 * MS), ("denoise", 20 * MS), ("context", 40 * MS)):
        into.add(phase, start, start + MS)
    into.flow("in", "envelope", 1, at_ns=13 * MS)
    events = build_trace([out.snapshot(), into.snapshot()], FPS)["traceEvents"]
    tracks = {e["tid"]: e["args"]["name"] for e in of(events, "M") if e["name"] == "thread_name"}
    (start,), (end,) = of(events, "s"), of(events, "f")
    assert (tracks[start["tid"]], start["ts"]) == ("send", 11_000)
    assert (tracks[end["tid"]], end["ts"]) == ("denoise", 20_000)


def test_an_unreadable_part_is_left_out_with_a_warning(tmp_path, caplog):
    SpanRecorder(0).write_part(tmp_path)
    (tmp_path / "trace-rank1-1.part.json").write_text("{")
    trace = json.loads(merge_trace(tmp_path, FPS).read_text())
    assert [e["pid"] for e in of(trace["traceEvents"], "M") if e["name"] == "process_name"] == [0]
    assert "trace-rank1-1.part.json is left out" in caplog.text


def test_two_lives_of_a_rank_share_its_process_track():
    parts = [TracePart(1, [Span("recv", at, at + 5, {})], [], dropped) for at, dropped in ((0, 2), (10, 3))]
    trace = build_trace(parts, FPS)
    assert len([e for e in of(trace["traceEvents"], "M") if e["name"] == "process_name"]) == 1
    assert trace["otherData"]["dropped_by_rank"] == {"1": 5}


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20), st.sampled_from("ab")), max_size=40))
def test_spans_of_one_track_never_overlap(spans):
    part = TracePart(0, [Span(phase, start, start + length, {}) for start, length, phase in spans], [], 0)
    tracks = defaultdict(list)
    for event in of(build_trace([part], FPS)["traceEvents"], "X"):
        tracks[event["tid"]].append(event)
    assert sum(map(len, tracks.values())) == len(spans)
    for track in tracks.values():
        assert len({event["name"] for event in track}) == 1
        for before, after in pairwise(track):
            assert round(1e3 * (before["ts"] + before["dur"])) <= round(1e3 * after["ts"])
