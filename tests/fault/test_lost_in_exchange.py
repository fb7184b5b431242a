"""A rank of a sequence-parallel mesh is lost while tokens are exchanged: seen and told, and the stream comes back."""

import os
import signal
import time

from tests.fault.faulty_stream import faulty_stream
from tests.timing import stopwatch

SEQUENCE, CHUNK, SEEN_S = "parallel=sequence", 4, 1.0
LONG = "debug.fault.seconds=60"


def test_a_rank_that_is_killed_while_it_waits_in_an_exchange():
    """The leader sleeps before a pass, so rank 2 waits for its tokens."""
    with faulty_stream("sleep", SEQUENCE, LONG, rank=1, ranks=2, chunk=CHUNK) as stream, stopwatch() as watch:
        stream.wait_for(lambda: len(stream.chunks) == CHUNK)
        time.sleep(1)  # until rank 2 has come to the exchange
        assert not stream.of("restarting")
        killed = time.monotonic()
        os.kill(stream.run.stream.ranks()["2"]["pid"], signal.SIGKILL)
        stream.wait_for(lambda: stream.of("restarting"))
        seen_s = time.monotonic() - killed
        stream.wait_for_epoch(1)
        assert stream.restarts("death") == 1
    assert stream.of("restarting")[0]["text"].startswith("rank 2 ended with exit code -9")
    assert seen_s <= SEEN_S * watch.scale


def test_a_rank_that_is_killed_while_the_leader_waits_in_an_exchange():
    with faulty_stream("kill", SEQUENCE, rank=2, ranks=2, chunk=CHUNK) as stream:
        stream.wait_for_epoch(1)
        assert stream.restarts("death") == 1
    assert stream.of("restarting")[0]["text"].startswith("rank 2 ended with exit code -9")


def test_an_exchange_in_which_a_rank_waits_for_ever_is_found(tmp_path):
    choices = ("deadlines.answer=1.5", "deadlines.message=6", LONG)
    with faulty_stream("sleep", SEQUENCE, *choices, rank=1, ranks=2, chunk=CHUNK, out=tmp_path) as stream:
        stream.wait_for_epoch(1)
        assert stream.restarts("hang") == 1
    assert stream.of("restarting")[0]["text"].startswith("rank 1 hangs: no answer for")
    assert "in all_to_all" in (tmp_path / "hang-1" / "rank2.txt").read_text()
