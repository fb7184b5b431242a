"""A rank that hangs while it starts, in a chunk, while paused; rank 0 that hangs in what it does itself.

Each is found by its deadline, reported by name with the stacks of all ranks, and the stream comes back or ends.
"""

import asyncio
import contextlib
import os
import re
import signal
import time

import pytest

from pp1_orchestrator.errors import MeshError
from pp1_orchestrator.processes import stack_dumps as stacks
from pp1_orchestrator.supervision.watchdog import EventLoopWatchdog
from pp1_orchestrator.transport.response_timer import HISTORY, MEDIAN_FACTOR, Overdue, ResponseTimer
from pp1_orchestrator.types import Control
from tests.fault.faulty_stream import faulty_stream
from tests.forkserver import forkserver_context
from tests.system.program import running
from tests.timing import scaled

LONGEST_S = 6
FOREVER = "debug.fault.seconds=60"
CHOICES = ("deadlines.answer=1.5", f"deadlines.message={LONGEST_S}", FOREVER)
WORDS = r"(.+): no answer for ([\d.]+) s, ([\d.]+) s are allowed"


def suspect(told):
    """Who was named. The deadline that was missed is the configured one, or ten usual answers where that is more."""
    found = re.fullmatch(WORDS, told["text"])
    assert found, told
    assert told["reason"] == "hang"
    assert 1.5 <= float(found[3]) <= LONGEST_S
    assert float(found[3]) <= float(found[2]) <= float(found[3]) + scaled(1)
    return found[1]


@pytest.mark.parametrize(
    ("kind", "rank", "named", "stack"),
    [
        ("stop", 2, "rank 2 is stopped", "in run"),
        ("sleep", 1, "rank 1 hangs", "in run"),
        ("skip", 2, "the mesh hangs", "in broadcast"),
    ],
)
def test_a_rank_that_does_not_go_on(tmp_path, caplog, kind, rank, named, stack):
    with faulty_stream(kind, *CHOICES, rank=rank, ranks=2, out=tmp_path) as stream:
        stream.wait_for(lambda: stream.of("restarting"))
        assert suspect(stream.of("restarting")[0]) == named
        stream.wait_for(lambda: stream.session.state()["state"] in ("restarting", "starting") or stream.of("restarted"))
        assert not stream.session.ready() or stream.of("restarted")
        stream.wait_for_epoch(1)
        assert stream.restarts("hang") == 1
    written = {path.name: path.read_text() for path in (tmp_path / "hang-1").iterdir()}
    assert set(written) == {"rank0.txt", "rank1.txt", "rank2.txt"}
    assert "in receive" in written["rank0.txt"]
    assert stack in written[f"rank{rank}.txt"]
    assert f"stacks of all ranks are in {tmp_path / 'hang-1'}" in caplog.text
    assert (tmp_path / "hang-1").stat().st_mode & 0o777 == stacks.PRIVATE
    assert not (tmp_path / ".stacks").exists()


def test_a_mesh_that_stops_while_paused_is_found_out_by_its_heartbeat(tmp_path):
    with faulty_stream("none", *CHOICES, "deadlines.heartbeat=0.2", out=tmp_path) as stream:
        stream.wait_for(lambda: len(stream.chunks) > 4)
        stream.session.control(Control(action="pause"))
        stream.wait_for(lambda: len(stream.run.kept.planned_chunks) == len(stream.chunks))
        os.kill(stream.run.stream.ranks()["1"]["pid"], signal.SIGSTOP)
        stream.wait_for(lambda: stream.of("restarting"))
        assert suspect(stream.of("restarting")[0]) == "rank 1 is stopped"
        stream.session.control(Control(action="resume"))
        stream.wait_for_epoch(1)


def test_without_restarts_a_hang_ends_the_run(tmp_path):
    with faulty_stream("sleep", *CHOICES, "run.restarts=0", out=tmp_path) as stream:
        assert stream.session.done.wait(240)
        assert isinstance(stream.session.failure, MeshError)
        assert str(stream.session.failure).startswith("rank 1 hangs: no answer for ")


def test_stacks_that_can_not_be_written_do_not_save_a_mesh(tmp_path, monkeypatch, caplog):
    with faulty_stream("sleep", *CHOICES, out=tmp_path) as stream:
        stream.wait_for(lambda: len(stream.chunks) > 1)
        (tmp_path / ".stacks").rename(tmp_path / "elsewhere")
        stream.wait_for_epoch(1)
        assert suspect(stream.of("restarting")[0]) == "the mesh hangs"
    assert "its stacks can't be written" in caplog.text


def test_a_wait_may_take_as_long_as_the_newest_answers_did_times_ten():
    clock = ResponseTimer(usual_s=2.0, longest_s=30.0, warm=2)
    assert allowed(clock) == 30
    clock.record(9.0)
    assert allowed(clock) == 30
    clock.record(9.0)
    assert allowed(clock) == 30  # ten times 9 s are more than ever is allowed
    for _ in range(HISTORY):
        clock.record(0.5)
    assert allowed(clock) == MEDIAN_FACTOR * 0.5
    for _ in range(HISTORY):
        clock.record(0.1)
    assert allowed(clock) == 2
    assert clock.overdue(time.monotonic() + 1000) is None


def allowed(clock):
    with clock.timed():
        now = time.monotonic()
        overdue = clock.overdue(now + 1000)
        assert overdue is not None
        assert overdue.waited_s >= 1000
        assert clock.overdue(now + overdue.allowed_s - 1) is None
    return overdue.allowed_s


def test_what_was_waited_for_is_never_told_as_less_than_what_is_allowed():
    assert str(Overdue(2.234, 2.231)) == "no answer for 2.23 s, 2.23 s are allowed"


def test_a_blocked_event_loop_is_told_with_its_stack(tmp_path, caplog):
    async def blocks_the_loop():
        watch = EventLoopWatchdog(asyncio.get_running_loop(), 0.1, tmp_path)
        while not (tmp_path / "blocked-1" / "rank0.txt").exists():
            time.sleep(0.01)
        while "was blocked for" not in caplog.text:
            await asyncio.sleep(0.01)
        watch.close()

    asyncio.run(blocks_the_loop())
    assert "in blocks_the_loop" in (tmp_path / "blocked-1" / "rank0.txt").read_text()
    assert str(tmp_path / "blocked-1") in caplog.text


@pytest.fixture(scope="module")
def start_s():
    """Seconds that a start may take here: longer than a good one does, which this measures."""
    process = forkserver_context().Process(target=os.getpid)
    process.start()  # the imports of the helper that forks ranks are done after this
    process.join()
    return min(30, round(scaled(6)))


def stacks_of(folder) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("kind", "rank", "line", "peer_waits"),
    [
        ("hang_loading", 2, "rank 2 hangs: no sign within {} s that rank 2 had loaded", "in __init__"),
        ("hang_joining", 1, "rank 1 hangs: the process groups were not made within {} s", "in __init__"),
    ],
)
def test_a_first_mesh_that_does_not_come_up_ends_the_run(tmp_path, caplog, start_s, kind, rank, line, peer_waits):
    choices = (f"deadlines.start={start_s}", FOREVER)
    with pytest.raises(MeshError) as failed, faulty_stream(kind, *choices, rank=rank, ranks=2, out=tmp_path):
        pytest.fail("there is no mesh to run with")
    assert str(failed.value) == line.format(start_s)
    written = stacks_of(tmp_path / "hang-1")
    assert set(written) == {"rank0.txt", "rank1.txt", "rank2.txt"}
    assert "in apply_start_fault" in written[f"rank{rank}.txt"]
    assert peer_waits in written[f"rank{3 - rank}.txt"]
    assert "in connect" in written["rank0.txt"]
    assert f"stacks of all ranks are in {tmp_path / 'hang-1'}" in caplog.text


@pytest.mark.slow
def test_a_later_mesh_that_does_not_come_up_is_given_up_and_the_next_one_is_good(tmp_path, start_s):
    """One of its ranks is stopped as soon as it is there, before it can even write its stacks."""
    with faulty_stream("none", f"deadlines.start={start_s}", ranks=2, out=tmp_path) as stream:
        stream.wait_for(lambda: len(stream.chunks) > 1)
        ranks = stream.run.stream.ranks
        old = ranks()["2"]["pid"]
        os.kill(ranks()["1"]["pid"], signal.SIGKILL)
        stream.wait_for(lambda: ranks()["2"]["pid"] != old)
        os.kill(ranks()["2"]["pid"], signal.SIGSTOP)
        stream.wait_for(lambda: len(stream.of("restarting")) > 1)
        told = stream.of("restarting")[1]
        assert told["reason"] == "hang"
        assert re.fullmatch(
            rf"rank 2 is stopped: no sign within {start_s} s that rank 2 had (agreed|loaded)", told["text"]
        )
        assert not stream.session.ready()
        stream.wait_for(lambda: stream.of("restarted"))
        stream.wait_for(lambda: stream.session.state()["state"] == "ready")
    assert set(stacks_of(tmp_path / "hang-1")) == {"rank0.txt", "rank1.txt", "rank2.txt"}


IN_ONE_PROCESS = (
    "layout=inline", "stream.height=64", "stream.width=64", "stream.fps=48", "debug=fault", "debug.fault.chunk=12",
    "run.restarts=3",
)  # fmt: skip
DECODE_S, UNHEALTHY_S = 4.0, 5.0
"""The shipped deadline, and when it is noticed on an idle machine."""
NEVER = (FOREVER, "deadlines.message=4", "deadlines.answer=1.5", "deadlines.decode=1.5")


@contextlib.contextmanager
def hanging(tmp_path, kind, *choices):
    with running(*IN_ONE_PROCESS, f"debug.fault.kind={kind}", *choices, out=tmp_path / "out") as program:
        yield program


def assert_ended_by_its_deadline(log, doing):
    """Only what took longer than `deadlines.message` ends the program."""
    found = re.search(rf"failed: {doing} hangs on rank 0: no answer for ([\d.]+) s, ([\d.]+) s are allowed", log)
    assert found, log
    assert float(found[1]) >= 4 >= float(found[2])


@pytest.mark.slow
def test_a_decoder_that_hangs_is_seen_with_the_shipped_deadline_and_may_go_on(tmp_path):
    with hanging(tmp_path, "hang_decoding", f"debug.fault.seconds={min(25, scaled(7)):.0f}") as program:
        program.wait_until(lambda: program.get("/healthz") == (503, "hangs\n"))
        assert program.get("/readyz")[0] == 503
        program.wait_until(lambda: "stacks are in" in program.log)
        found = re.search(r"no answer for ([\d.]+) s, ([\d.]+) s are allowed; stacks are in", program.log)
        assert found, program.log
        assert float(found[2]) >= DECODE_S  # ten usual answers where that is more
        assert float(found[1]) <= float(found[2]) + scaled(UNHEALTHY_S - DECODE_S)
        assert "in decode" in (tmp_path / "out" / "hang-1" / "rank0.txt").read_text()
        program.wait_until_ready()
        assert program.get("/healthz")[0] == 200
        assert "rank 0 has recovered" in program.log


@pytest.mark.slow
def test_a_generator_in_the_same_process_that_does_not_go_on_ends_the_program(tmp_path):
    with hanging(tmp_path, "sleep", *NEVER) as program:
        program.wait_until(lambda: program.get("/healthz")[0] == 503)
        assert program.get("/readyz")[0] == 503
        assert program.process.wait(240) == 1
        assert_ended_by_its_deadline(program.log.strip().splitlines()[-1], "generating")
    assert "in run" in (tmp_path / "out" / "hang-1" / "rank0.txt").read_text()


@pytest.mark.slow
def test_a_bench_whose_decoder_does_not_go_on_ends_too(tmp_path):
    with hanging(tmp_path, "hang_decoding", *NEVER, "run=bench", "run.restarts=0") as program:
        assert program.process.wait(240) == 1
        assert_ended_by_its_deadline(program.log, "decoding")
