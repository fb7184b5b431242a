"""A rank that is there and does not go on: seen in time, told with all ranks' stacks, and the stream comes back."""

import asyncio
import os
import re
import signal
import time

import pytest

from pp1_orchestrator.errors import MeshError
from pp1_orchestrator.ports import Control
from pp1_orchestrator.runtime import stacks
from pp1_orchestrator.runtime.loop_watch import LoopWatch
from pp1_orchestrator.transport.watched import REMEMBERED, TIMES_USUAL, AnswerClock

from .faulty import faulty

LATER_S = 1
CHOICES = ("deadlines.answer=1.5", "deadlines.message=6", "debug.fault.seconds=60")
WORDS = r"(.+): no answer for ([\d.]+) s, ([\d.]+) s are allowed"


def assert_seen_in_time(told):
    found = re.fullmatch(WORDS, told["text"])
    assert found, told
    assert told["reason"] == "hang"
    assert float(found[2]) <= float(found[3]) + LATER_S
    assert float(found[3]) <= 6
    return found[1]


@pytest.mark.alone
@pytest.mark.parametrize(
    ("kind", "rank", "suspect", "stack"),
    [
        ("stop", 2, "rank 2 is stopped", "in run"),
        ("sleep", 1, "rank 1 hangs", "in run"),
        ("skip", 2, "the mesh hangs", "in broadcast"),
    ],
)
def test_a_rank_that_does_not_go_on(tmp_path, caplog, kind, rank, suspect, stack):
    with faulty(kind, *CHOICES, rank=rank, ranks=2, out=tmp_path) as stream:
        stream.wait_for(lambda: stream.of("restarting"))
        assert assert_seen_in_time(stream.of("restarting")[0]) == suspect
        stream.wait_for(lambda: stream.session.state()["state"] in ("restarting", "starting") or stream.of("restarted"))
        assert not stream.session.ready() or stream.of("restarted")
        stream.wait_for_epoch(1)
        assert stream.restarts("hang") == 1
    written = {path.name: path.read_text() for path in (tmp_path / "hang-1").iterdir()}
    assert set(written) == {"rank0.txt", "rank1.txt", "rank2.txt"}
    assert "in _next_result" in written["rank0.txt"]
    assert stack in written[f"rank{rank}.txt"]
    assert f"stacks of all ranks are in {tmp_path / 'hang-1'}" in caplog.text
    assert (tmp_path / "hang-1").stat().st_mode & 0o777 == stacks.PRIVATE
    assert not (tmp_path / ".stacks").exists()


@pytest.mark.alone
def test_a_mesh_that_stops_while_paused_is_found_out_by_its_heartbeat(tmp_path):
    with faulty("none", *CHOICES, "deadlines.heartbeat=0.2", out=tmp_path) as stream:
        stream.wait_for(lambda: len(stream.chunks) > 4)
        stream.session.control(Control(action="pause"))
        stream.wait_for(lambda: len(stream.run.kept.flights) == len(stream.chunks))
        os.kill(stream.run.stream.ranks()["1"]["pid"], signal.SIGSTOP)
        stream.wait_for(lambda: stream.of("restarting"))
        assert assert_seen_in_time(stream.of("restarting")[0]) == "rank 1 is stopped"
        stream.session.control(Control(action="resume"))
        stream.wait_for_epoch(1)


def test_without_restarts_a_hang_ends_the_run(tmp_path):
    with faulty("sleep", *CHOICES, "run.restarts=0", out=tmp_path) as stream:
        assert stream.session.done.wait(60)
        assert isinstance(stream.session.failure, MeshError)
        assert str(stream.session.failure).startswith("rank 1 hangs: no answer for ")


@pytest.mark.alone
def test_stacks_that_can_not_be_written_do_not_save_a_mesh(tmp_path, monkeypatch, caplog):
    with faulty("sleep", *CHOICES, out=tmp_path) as stream:
        stream.wait_for(lambda: len(stream.chunks) > 1)
        (tmp_path / ".stacks").rename(tmp_path / "elsewhere")
        stream.wait_for_epoch(1)
        assert assert_seen_in_time(stream.of("restarting")[0]) == "the mesh hangs"
    assert "its stacks can't be written" in caplog.text


def test_a_wait_may_take_as_long_as_the_newest_answers_did_times_ten():
    clock = AnswerClock(usual_s=2.0, longest_s=30.0, warm=2)
    assert allowed(clock) == 30
    clock.answered(9.0)
    assert allowed(clock) == 30
    clock.answered(9.0)
    assert allowed(clock) == 30  # ten times 9 s are more than ever is allowed
    for _ in range(REMEMBERED):
        clock.answered(0.5)
    assert allowed(clock) == TIMES_USUAL * 0.5
    for _ in range(REMEMBERED):
        clock.answered(0.1)
    assert allowed(clock) == 2
    assert clock.overdue(time.monotonic() + 1000) is None


def allowed(clock):
    with clock.waiting():
        now = time.monotonic()
        overdue = clock.overdue(now + 1000)
        assert overdue is not None
        assert overdue.waited_s >= 1000
        assert clock.overdue(now + overdue.allowed_s - 1) is None
    return overdue.allowed_s


def test_a_blocked_event_loop_is_told_with_its_stack(tmp_path, caplog):
    async def blocks_the_loop():
        watch = LoopWatch(asyncio.get_running_loop(), 0.1, tmp_path)
        while not (tmp_path / "blocked-1" / "rank0.txt").exists():
            time.sleep(0.01)
        while "was blocked for" not in caplog.text:
            await asyncio.sleep(0.01)
        watch.close()

    asyncio.run(blocks_the_loop())
    assert "in blocks_the_loop" in (tmp_path / "blocked-1" / "rank0.txt").read_text()
    assert str(tmp_path / "blocked-1") in caplog.text
