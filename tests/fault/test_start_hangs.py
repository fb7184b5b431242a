"""A rank that hangs while the mesh starts: told in time by name and step, with the stacks of all ranks on the disk."""

import os
import re
import signal
import time

import pytest

from pp1_orchestrator.errors import MeshError
from tests.forked import helped

from .faulty import faulty

START_S, LATER_S = 6, 3
CHOICES = (f"deadlines.start={START_S}", "debug.fault.seconds=60")


@pytest.fixture(scope="module", autouse=True)
def imports_are_done():
    """By the helper that forks ranks: a start that is good then takes a small part of what is allowed."""
    process = helped().Process(target=os.getpid)
    process.start()
    process.join()


def stacks_of(folder) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("kind", "rank", "line", "peer_waits"),
    [
        ("hang_loading", 2, f"rank 2 hangs: no sign within {START_S} s that rank 2 had loaded", "in __init__"),
        ("hang_joining", 1, f"rank 1 hangs: the process groups were not made within {START_S} s", "in __init__"),
    ],
)
def test_a_first_mesh_that_does_not_come_up_ends_the_run(tmp_path, caplog, kind, rank, line, peer_waits):
    start = time.monotonic()
    with pytest.raises(MeshError) as failed, faulty(kind, *CHOICES, rank=rank, ranks=2, out=tmp_path):
        pytest.fail("there is no mesh to run with")
    assert str(failed.value) == line
    assert time.monotonic() - start < 3 * START_S
    written = stacks_of(tmp_path / "hang-1")
    assert set(written) == {"rank0.txt", "rank1.txt", "rank2.txt"}
    assert "in meet_start_fault" in written[f"rank{rank}.txt"]
    assert peer_waits in written[f"rank{3 - rank}.txt"]
    assert "in connect" in written["rank0.txt"]
    assert f"stacks of all ranks are in {tmp_path / 'hang-1'}" in caplog.text


@pytest.mark.alone
def test_a_later_mesh_that_does_not_come_up_is_given_up_and_the_next_one_is_good(tmp_path):
    """One of its ranks is stopped as soon as it is there, before it can even write its stacks."""
    with faulty("none", *CHOICES, ranks=2, out=tmp_path) as stream:
        stream.wait_for(lambda: len(stream.chunks) > 1)
        ranks = stream.run.stream.ranks
        old = ranks()["2"]["pid"]
        os.kill(ranks()["1"]["pid"], signal.SIGKILL)
        stream.wait_for(lambda: ranks()["2"]["pid"] != old)
        os.kill(ranks()["2"]["pid"], signal.SIGSTOP)
        stopped_s = time.monotonic()
        stream.wait_for(lambda: len(stream.of("restarting")) > 1)
        assert time.monotonic() - stopped_s < START_S + LATER_S
        told = stream.of("restarting")[1]
        assert told["reason"] == "hang"
        assert re.fullmatch(
            rf"rank 2 is stopped: no sign within {START_S} s that rank 2 had (agreed|loaded)", told["text"]
        )
        assert not stream.session.ready()
        stream.wait_for(lambda: stream.of("restarted"))
        stream.wait_for(lambda: stream.session.state()["state"] == "ready")
    assert set(stacks_of(tmp_path / "hang-1")) == {"rank0.txt", "rank1.txt", "rank2.txt"}
