"""The reason for which a stream ends is always a line of text."""

import pytest

from pp1_orchestrator.errors import MeshError
from pp1_orchestrator.event_bus import EventBus
from pp1_orchestrator.layouts.inline import InlineLayout
from pp1_orchestrator.supervision.supervisor import Supervisor
from pp1_orchestrator.telemetry.metrics import Metrics
from pp1_orchestrator.types import DecodedChunk
from tests.system.in_process import make_settings, open_stream


def refuse(chunk: DecodedChunk) -> None:
    """Takes the part of a sink that is broken."""
    raise AssertionError


@pytest.mark.parametrize(
    ("overlap", "reported"),
    [("sync", "a part of the stream has failed: AssertionError"), ("decode_thread", "decoding failed: AssertionError")],
)
def test_a_failure_without_a_message_is_reported_by_its_type(overlap, reported):
    with open_stream("run.chunks=2", f"overlap={overlap}") as run:
        heard = run.instruments.events.subscribe(lambda: None)
        run.sink.put = refuse
        run.session.start()
        assert run.session.done.wait(240)
        assert run.session.state()["failed"] == reported
        failed = [event["reason"] for event in heard.drain() if event["event"] == "failed" and "update" not in event]
        assert failed == [reported]


def test_the_reason_of_a_restart_is_one_line():
    settings, config = make_settings("run.restarts=2")
    events = EventBus()
    heard = events.subscribe(lambda: None)
    mesh = Supervisor(settings, config, InlineLayout, Metrics(), events, None)
    mesh.connect()
    mesh.fail(MeshError("what is wrong\nand where a library saw it"))
    mesh.fail(MeshError())
    reported = [event["text"] for event in heard.drain() if event["event"] == "restarting"]
    assert reported == ["what is wrong", "MeshError"]
    mesh.stop(None, 0.0)
