"""How a stream ends is told to people in words, whatever it was that ended it."""

import pytest

from pp1_orchestrator.errors import MeshError
from pp1_orchestrator.events import EventBus
from pp1_orchestrator.supervision.supervisor import Supervisor
from pp1_orchestrator.telemetry.metrics import Metrics
from pp1_orchestrator.types import DecodedChunk
from tests.system.in_process import make_settings, open_stream


def refuse(chunk: DecodedChunk) -> None:
    """Takes the part of a sink that is broken."""
    raise AssertionError


@pytest.mark.parametrize(
    ("overlap", "told"), [("sync", "AssertionError"), ("decode_thread", "decoding failed: AssertionError")]
)
def test_a_failure_without_words_is_told_by_its_name(overlap, told):
    with open_stream("run.chunks=2", f"overlap={overlap}") as run:
        heard = run.instruments.events.subscribe(lambda: None)
        run.sink.put = refuse
        run.session.start()
        assert run.session.done.wait(240)
        assert run.session.state()["failed"] == told
        assert [event["reason"] for event in heard.drain() if event["event"] == "failed"] == [told]


def test_why_a_mesh_is_started_anew_is_one_line():
    settings, config = make_settings("run.restarts=2")
    events = EventBus()
    heard = events.subscribe(lambda: None)
    mesh = Supervisor(settings, config, Metrics(), events, None)
    mesh.connect()
    mesh.fail(MeshError("what is wrong\nand where a library saw it"))
    mesh.fail(MeshError())
    told = [event["text"] for event in heard.drain() if event["event"] == "restarting"]
    assert told == ["what is wrong", "MeshError"]
    mesh.stop(None, 0.0)
