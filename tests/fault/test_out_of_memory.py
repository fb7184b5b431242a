"""A mesh that runs out of memory: where it can go on a chunk is dropped, else it is started anew."""

import pytest

from tests.fault.faulty_stream import faulty_stream

INLINE = ("layout=inline", "run.chunks=14")
BAD = 5
WORDS = "out of memory: a scripted fault"


@pytest.mark.parametrize("overlap", ["sync", "stage0_owned", "loop_ahead", "decode_thread"])
@pytest.mark.parametrize("routing", ["rank0_encoder", pytest.param("hybrid_cache", marks=pytest.mark.slow)])
def test_once_costs_a_chunk_and_an_epoch(caplog, overlap, routing):
    with faulty_stream("oom", *INLINE, f"overlap={overlap}", f"routing={routing}", chunk=BAD) as stream:
        assert stream.session.done.wait(240)
        assert stream.session.failure is None
        shown = [chunk.chunk_index for chunk in stream.chunks if chunk.cache_epoch == 0]
        # A decoder on a thread of its own may still be busy with the one before when the new epoch begins.
        assert shown == list(range(BAD)) or (overlap == "decode_thread" and shown == list(range(BAD - 1)))
        assert next(c.chunk_index for c in stream.chunks if c.cache_epoch == 1) <= BAD + 2
        assert [event["reason"] for event in stream.of("epoch")] == ["chunk"]
        assert stream.sample("pp1_frames_dropped_total", reason="failed") in (12, 24)
        assert stream.of("restarting") == []
    assert f"chunk {BAD} could not be made: {WORDS}; a new epoch begins" in caplog.text


def test_twice_within_a_minute_is_another_mesh():
    with faulty_stream("oom_twice", "layout=cpu", chunk=BAD) as stream:
        stream.wait_for_epoch(2)
        assert [event["reason"] for event in stream.of("epoch")] == ["chunk", "restart"]
        told = stream.of("restarting")
        assert [event["reason"] for event in told] == ["error"]
        chunk = next(c.chunk_index for c in stream.chunks if c.cache_epoch == 2)
        assert told[0]["text"] in {
            f"chunk {number} could not be made, for the second time within 60 s: {WORDS}" for number in range(chunk)
        }


def test_with_other_ranks_in_the_same_chunk_the_mesh_is_anew_and_nobody_waits():
    with faulty_stream("oom", rank=2, ranks=2, chunk=BAD) as stream:
        stream.wait_for_epoch(1)
        assert [event["reason"] for event in stream.of("epoch")] == ["restart"]
        told = stream.of("restarting")
        assert [event["reason"] for event in told] == ["error"]
        assert told[0]["text"] in (
            f"rank 2 ended with exit code 1: {WORDS}",
            "rank 1 ended with exit code 1: a rank of the mesh has ended",
        )


def test_a_run_without_restarts_ends_at_the_first_one():
    with faulty_stream("oom", *INLINE, "run.restarts=0", chunk=BAD) as stream:
        assert stream.session.done.wait(240)
        assert str(stream.session.failure) == f"chunk {BAD} could not be made: {WORDS}"
