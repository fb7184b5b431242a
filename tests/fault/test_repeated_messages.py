"""A message that comes twice, or after a newer one: it is dropped and counted, and nobody waits for its being taken."""

import pytest

from pp1_orchestrator.contract import Action
from tests.config.test_conf import settings
from tests.fault.bare_mesh import SETTINGS, exit_codes, first_envelope, mesh, message
from tests.fault.faulty_stream import MESH, faulty_stream
from tests.system.in_process import run_script

CHUNKS, TWICE = 8, 4
STREAM = (*MESH, "layout.mesh_ranks=1")
REPEATING = settings(
    "run=bench", *MESH, "layout.mesh_ranks=2", "debug=fault", "debug.fault.kind=repeat", "debug.fault.chunk=0"
)


@pytest.fixture(scope="module")
def undisturbed():
    summary, _ = run_script(*STREAM, chunks=CHUNKS)
    return summary.pixels_sha256


@pytest.mark.parametrize("overlap", ["sync", "stage0_owned", "loop_ahead", "decode_thread"])
def test_a_second_answer_is_dropped_and_the_stream_is_the_same(undisturbed, caplog, overlap):
    with faulty_stream("repeat", f"run.chunks={CHUNKS}", f"overlap={overlap}", chunk=TWICE) as stream:
        stream.wait_for(stream.session.done.is_set)
        assert [chunk.chunk_index for chunk in stream.chunks] == list(range(CHUNKS))
        assert stream.of("restarting") == []
        assert stream.sample("pp1_results_repeated_total") == 1
        calls = [chunk.envelope.meta.call_id for chunk in stream.run.kept.planned_chunks]
    words = f"a message came twice or late and was dropped: call {calls[TWICE]} after {calls[TWICE]}"
    assert [record.getMessage() for record in caplog.records].count(words) == 1
    assert stream.run.summary().pixels_sha256 == undisturbed


def test_a_second_answer_that_nobody_takes_holds_nobody_up():
    """Heartbeats and the end pass it."""
    with mesh(REPEATING) as (made, link):
        link.send(first_envelope(call_id=1))
        assert link.receive().message.meta.call_id == 1
        for call_id in (2, 3):
            link.send(message(Action.NOOP, call_id))
        link.send(message(Action.SHUTDOWN, 4))
        assert exit_codes(made) == {0}


def test_envelopes_that_come_twice_or_late_are_not_run():
    with mesh(SETTINGS) as (made, link):
        sendings = [link.start_send(first_envelope(call_id=call_id)) for call_id in (2, 2, 1, 3)]
        answers = [link.receive().message.meta for _ in range(2)]
        for sending in sendings:
            sending()
        assert [answer.call_id for answer in answers] == [2, 3]
        assert all(answer.ok for answer in answers), answers
        link.send(message(Action.SHUTDOWN, 4))
        assert exit_codes(made) == {0}
