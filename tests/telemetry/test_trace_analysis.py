"""Why a chunk was late, and the curves beside the spans."""

import pytest

from pp1_orchestrator.telemetry.spans import DeviceClock, SpanRecorder
from pp1_orchestrator.telemetry.trace import build_trace

MS = 1_000_000
FPS, FRAMES = 10, 5
ALLOWED = 500


def chunk(recorder, index, *parts):
    """Parts of rank 0 as (phase, start, end) in ms; the last one is the decoding."""
    for phase, start, end in parts:
        ids = {"chunk": index} | ({"frames": FRAMES} if phase == "decode" else {})
        recorder.add(phase, start * MS, end * MS, **ids)


def of(recorders, ph, name=None):
    events = build_trace([recorder.snapshot() for recorder in recorders], FPS)["traceEvents"]
    return [event for event in events if event["ph"] == ph and name in (None, event["name"])]


def test_a_chunk_in_time_is_not_late():
    stage0 = SpanRecorder(0)
    chunk(stage0, 0, ("decode", 0, 100))
    chunk(stage0, 1, ("decode", 500, 100 + ALLOWED))
    assert of([stage0], "i") == []


def test_the_part_that_took_longest_is_the_reason_whatever_rank_it_was_on():
    stage0, leader = SpanRecorder(0), SpanRecorder(1)
    chunk(stage0, 0, ("decode", 0, 100))
    chunk(stage0, 1, ("build", 100, 110), ("mesh", 110, 850), ("recv", 850, 860), ("decode", 860, 900))
    leader.add("denoise", 120 * MS, 840 * MS, chunk=1)
    (late,) = of([stage0, leader], "i")
    reason = {"longest": "denoise", "rank": 1, "ms": 720}
    assert late["args"] == {"chunk": 1, "period_ms": 800, "allowed_ms": ALLOWED, **reason}
    assert (late["name"], late["ts"]) == ("late", 900_000)


def test_only_what_lies_between_the_two_chunks_counts():
    """The decoding of the chunk before took longer, but it was over."""
    stage0, leader = SpanRecorder(0), SpanRecorder(1)
    leader.add("denoise", 0, 2000 * MS, chunk=1)
    chunk(stage0, 0, ("decode", 0, 1900))
    chunk(stage0, 1, ("decode", 2000, 2900))
    (late,) = of([stage0, leader], "i")
    assert (late["args"]["longest"], late["args"]["ms"]) == ("decode", 900)


def test_a_stream_that_stood_still_had_nothing_to_do():
    stage0 = SpanRecorder(0)
    chunk(stage0, 0, ("decode", 0, 100))
    chunk(stage0, 1, ("decode", 5000, 5100))
    (late,) = of([stage0], "i")
    assert (late["args"]["longest"], late["args"]["ms"]) == ("nothing to do", 4900)


def test_the_period_is_drawn_beside_the_allowed_one():
    stage0 = SpanRecorder(0)
    for index in range(3):
        chunk(stage0, index, ("decode", 400 * index, 400 * index + 100))
    curve = of([stage0], "C", "period (ms)")
    assert [event["args"] for event in curve] == 2 * [{"period": 400, "allowed": ALLOWED}]


def test_depths_go_up_when_a_chunk_comes_and_down_when_it_goes():
    stage0 = SpanRecorder(0)
    chunk(stage0, 0, ("build", 0, 10), ("recv", 100, 110), ("decode", 200, 210))
    chunk(stage0, 1, ("build", 50, 60), ("recv", 150, 160), ("decode", 210, 220))
    chunk(stage0, 2, ("build", 300, 310))  # the mesh was lost with it
    depths = {
        name: [(event["ts"] / 1e3, event["args"]["chunks"]) for event in of([stage0], "C", name)]
        for name in (
            "queue: in flight",
            "queue: results",
        )
    }
    assert depths["queue: in flight"] == [(10, 1), (60, 2), (110, 1), (160, 0)]
    assert depths["queue: results"] == [(110, 1), (160, 2), (200, 1), (210, 0)]


class SlowDevice(DeviceClock):
    """A device that does its work when it is told to go on."""

    def __init__(self) -> None:
        self.marks, self.done, self.asked = 0, 0, []

    def mark(self) -> int:
        self.marks += 1
        return self.marks

    def reached(self, mark) -> bool:
        return mark <= self.done

    def ns(self, mark) -> int:
        assert self.reached(mark), "asking would have waited for the device"
        return 1000 * mark


def test_what_a_device_does_is_a_span_of_its_own_once_it_is_done():
    device = SlowDevice()
    recorder = SpanRecorder(1, clock=device)
    for index in range(2):
        with recorder.span("denoise", chunk=index), recorder.on_device("denoise", chunk=index):
            pass
    assert [span.phase for span in recorder.snapshot().spans] == ["denoise", "denoise"]
    device.done = 2
    spans = [span for span in recorder.snapshot().spans if span.phase == "gpu denoise"]
    assert [(span.start_ns, span.end_ns, span.ids) for span in spans] == [(1000, 2000, {"chunk": 0})]
    device.done = 4
    assert len([span for span in recorder.snapshot().spans if span.phase == "gpu denoise"]) == 2
    tracks = {event["args"]["name"] for event in of([recorder], "M", "thread_name")}
    assert tracks == {"denoise", "gpu denoise"}


def test_without_a_device_there_is_only_the_hosts_span():
    recorder = SpanRecorder(1)
    with recorder.span("denoise"), recorder.on_device("denoise"):
        pass
    assert [span.phase for span in recorder.snapshot().spans] == ["denoise"]


def test_a_body_that_raises_leaves_no_span_of_the_device():
    recorder = SpanRecorder(1, clock=SlowDevice())
    with pytest.raises(KeyError), recorder.on_device("denoise"):
        raise KeyError
    assert recorder.snapshot().spans == []
