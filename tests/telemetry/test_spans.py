"""The span recorder: what it keeps, its bound, its threads and its part file."""

import contextlib
import threading
import time

import msgspec
import pytest

from pp1_orchestrator.telemetry.spans import DeviceClock, NullSpanRecorder, SpanRecorder, TracePart


def test_a_span_has_its_phase_its_ids_and_its_two_ends():
    recorder = SpanRecorder(rank=0)
    before = time.monotonic_ns()
    with recorder.span("decode", chunk=3, epoch=1):
        inside = time.monotonic_ns()
    (span,) = recorder.snapshot().spans
    assert (span.phase, span.ids) == ("decode", {"chunk": 3, "epoch": 1})
    assert before <= span.start_ns <= inside <= span.end_ns <= time.monotonic_ns()


def test_a_span_is_recorded_when_its_body_raises():
    recorder = SpanRecorder(rank=0)
    with pytest.raises(KeyError), recorder.span("decode"):
        raise KeyError
    assert [span.phase for span in recorder.snapshot().spans] == ["decode"]


def test_a_flow_point_belongs_to_the_innermost_open_span():
    recorder = SpanRecorder(rank=0)
    with recorder.span("outer"), recorder.span("send"):
        recorder.flow("out", "envelope", 7)
    (flow,) = recorder.snapshot().flows
    assert (flow.kind, flow.call_id, flow.end, flow.phase) == ("envelope", 7, "out", "send")


def test_a_flow_point_outside_of_any_span_has_no_phase():
    recorder = SpanRecorder(rank=0)
    recorder.flow("out", "envelope", 7)
    assert recorder.snapshot().flows[0].phase is None


def test_a_flow_point_may_name_its_phase_and_time_afterwards():
    recorder = SpanRecorder(rank=1)
    recorder.flow("in", "envelope", 7, phase="recv", at_ns=123)
    (flow,) = recorder.snapshot().flows
    assert (flow.phase, flow.at_ns, flow.end) == ("recv", 123, "in")


def test_open_spans_of_other_threads_are_not_ours():
    recorder = SpanRecorder(rank=0)
    with recorder.span("send"):
        thread = threading.Thread(target=recorder.flow, args=("out", "envelope", 1))
        thread.start()
        thread.join()
    assert recorder.snapshot().flows[0].phase is None


def test_the_newest_spans_are_kept_and_the_rest_are_counted():
    recorder = SpanRecorder(rank=0, limit=3)
    for chunk in range(5):
        recorder.add("mesh", chunk, chunk + 1, chunk=chunk)
    part = recorder.snapshot()
    assert [span.ids["chunk"] for span in part.spans] == [2, 3, 4]
    assert part.dropped == 2


def test_nothing_is_lost_between_threads():
    recorder = SpanRecorder(rank=0)

    def record(name: str) -> None:
        for chunk in range(500):
            with recorder.span(name, chunk=chunk):
                recorder.flow("out", name, chunk)

    threads = [threading.Thread(target=record, args=(f"phase {i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    part = recorder.snapshot()
    assert len(part.spans) == len(part.flows) == 2000
    assert all(flow.phase == flow.kind for flow in part.flows)


def test_the_part_file_holds_everything(tmp_path):
    recorder = SpanRecorder(rank=2)
    with recorder.span("mesh", call_id=4):
        recorder.flow("in", "envelope", 4)
    recorder.write_part(tmp_path)
    (path,) = tmp_path.iterdir()
    assert msgspec.json.decode(path.read_bytes(), type=TracePart) == recorder.snapshot()


def test_a_recorder_that_is_off_keeps_nothing(tmp_path):
    recorder = NullSpanRecorder(0)
    with recorder.span("send", chunk=1), recorder.on_device("send", chunk=1):
        recorder.flow("out", "envelope", 1)
    recorder.add("decode", 1, 2, chunk=1)
    assert recorder.snapshot() == TracePart(0, [], [], 0)
    recorder.write_part(tmp_path)
    assert list(tmp_path.iterdir()) == []


class MeetingClock(DeviceClock):
    """A device that has reached mark 1 and not mark 2. `reached` waits a moment for a second thread to ask, too."""

    def __init__(self) -> None:
        self.marks = iter((0, 1, 1, 2))
        self.meets = False
        self.asked = threading.Barrier(2)

    def mark(self) -> int:
        return next(self.marks)

    def reached(self, mark: int) -> bool:
        if self.meets and mark == 1:
            with contextlib.suppress(threading.BrokenBarrierError):
                self.asked.wait(0.3)
        return self.meets and mark == 1

    def ns(self, mark: int) -> int:
        return mark


def test_two_threads_take_no_device_span_before_the_device_has_reached_its_end():
    clock = MeetingClock()
    recorder = SpanRecorder(rank=1, clock=clock)
    for call_id in (1, 2):
        with recorder.on_device("mesh", call_id=call_id):
            assert recorder.snapshot().spans == []
    clock.meets = True
    threads = [threading.Thread(target=recorder.snapshot) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [span.ids["call_id"] for span in recorder.snapshot().spans] == [1]
