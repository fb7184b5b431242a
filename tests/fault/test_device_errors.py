"""A device that fails is its rank's failure: another mesh, and when that is no help either its name is told."""

import re

import pytest

from tests.fault.faulty_stream import faulty_stream

BAD = 4
WORDS = "CUDA error: a scripted fault"


def rank_words(rank: int) -> str:
    """The rank's own, or of the leader who misses it first. A leader's answer may be there before its process ends."""
    missed = "rank 1 ended with exit code 1: a rank of the mesh has ended"
    answered = rf"the mesh failed at chunk \d+: AcceleratorError: {WORDS}"
    return rf"rank {rank} ended with exit code 1: {WORDS}|{answered if rank == 1 else missed}"


@pytest.mark.parametrize("rank", [1, 2])
def test_a_device_error_costs_a_mesh(rank):
    with faulty_stream("device", rank=rank, ranks=2, chunk=BAD) as stream:
        stream.wait_for_epoch(1)
        [told] = stream.of("restarting")
        assert told["reason"] == "error"
        assert re.fullmatch(rank_words(rank), told["text"]), told
        assert stream.restarts("error") == 1


def test_one_that_lasts_uses_up_the_budget_and_names_the_device():
    with faulty_stream("device_lasting", "run.restarts=1", chunk=BAD) as stream:
        assert stream.session.done.wait(240)
        failure = str(stream.session.failure)
        words = rf"({rank_words(1)}), and no restart is left: 1 within 600 s are allowed; rank 1 is on cpu"
        assert re.fullmatch(words, failure), failure
        assert stream.session.state()["state"] == "failed"
        assert [event["reason"] for event in stream.of("failed") if "update" not in event] == [failure]
        assert len(stream.of("restarting")) == stream.restarts("error") == 1
