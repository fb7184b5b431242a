"""Rank 0 hangs in what it does itself: seen from outside in time, with stacks, and it goes on again or ends."""

import contextlib
import re
import time

import pytest

from tests.system.program import running

UNHEALTHY_S = 5.0
CHUNK = 12
QUIET_S = 2.0
"""A chunk is shown for 0.25 s; so long none comes only from one that hangs."""
CHOICES = (
    "layout=inline", "stream.height=64", "stream.width=64", "stream.fps=48", "debug=fault",
    f"debug.fault.chunk={CHUNK}", "run.restarts=3",
)  # fmt: skip
NEVER = ("debug.fault.seconds=60", "deadlines.message=4", "deadlines.answer=1.5", "deadlines.decode=1.5")
WORDS = r"no answer for 4\.\d s, 1\.5 s are allowed"


@contextlib.contextmanager
def hanging(tmp_path, kind, *choices):
    with running(*CHOICES, f"debug.fault.kind={kind}", *choices, out=tmp_path / "out") as program:
        program.wait_until_ready()
        yield program


def newest_change(program) -> float:
    """Wait until no chunk has come for a while, and say since when."""
    chunk, since = None, time.monotonic()
    while time.monotonic() - since < QUIET_S:
        newest = program.state()["chunk"]
        if newest != chunk:
            chunk, since = newest, time.monotonic()
    return since


@pytest.mark.alone
def test_a_decoder_that_hangs_is_seen_with_the_shipped_deadline_and_may_go_on(tmp_path):
    with hanging(tmp_path, "hang_decoding", "debug.fault.seconds=7") as program:
        assert program.get("/healthz")[0] == 200
        since = newest_change(program)
        program.wait_until(lambda: program.get("/healthz") == (503, "hangs\n"))
        assert time.monotonic() - since <= UNHEALTHY_S
        assert program.get("/readyz")[0] == 503
        program.wait_until(lambda: "stacks are in" in program.log)
        assert "in decode" in (tmp_path / "out" / "hang-1" / "rank0.txt").read_text()
        program.wait_until_ready()
        assert program.get("/healthz")[0] == 200
        assert "rank 0 goes on" in program.log


def test_a_generator_in_the_same_process_that_does_not_go_on_ends_the_program(tmp_path):
    with hanging(tmp_path, "sleep", *NEVER) as program:
        program.wait_until(lambda: program.get("/healthz")[0] == 503)
        assert program.get("/readyz")[0] == 503
        assert program.process.wait(30) == 1
        last = program.log.strip().splitlines()[-1]
        assert re.fullmatch(rf".*failed: generating hangs on rank 0: {WORDS}", last)
    assert "in run" in (tmp_path / "out" / "hang-1" / "rank0.txt").read_text()


def test_a_bench_whose_decoder_does_not_go_on_ends_too(tmp_path):
    choices = (*CHOICES, "debug.fault.kind=hang_decoding", *NEVER, "run=bench", "run.restarts=0")
    with running(*choices, out=tmp_path / "out") as program:
        assert program.process.wait(90) == 1
        assert re.search(f"failed: decoding hangs on rank 0: {WORDS}", program.log)
