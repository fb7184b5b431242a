"""More idle connections than files may be open: the program keeps what it needs, says little, and ends when told."""

import contextlib
import os
import resource
import signal
import socket
import time

import psutil
import pytest

from tests.fault.test_restart import pids
from tests.security import limited
from tests.system.program import running

FILES, STRANGERS = 1024, 1100
LOG_BYTES = 100_000
SMALL = ("layout=cpu", "stream.height=64", "stream.width=64")


def few_files(count: int) -> dict[str, str]:
    return limited.environment({"RLIMIT_NOFILE": (min(count, 128), count)})


@contextlib.contextmanager
def idle_connections(port: int):
    """They come again when the server closes them."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < STRANGERS + 500:
        pytest.skip("this process may not have that many connections itself")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.ExitStack() as opened:
        for _ in range(STRANGERS):
            opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=120))
        yield


@pytest.mark.slow
def test_a_rank_dies_while_strangers_hold_all_connections(tmp_path):
    choices = (*SMALL, "supervision.restarts=3", "supervision.pauses_s=[0.3]")
    with running(*choices, out=tmp_path / "out", module=limited.MODULE, environment=few_files(FILES)) as p:
        p.wait_until_ready()
        assert psutil.Process(p.process.pid).rlimit(psutil.RLIMIT_NOFILE) == (FILES, FILES)
        with idle_connections(p.port):
            assert p.get("/healthz")[0] == 200
            old = pids(p)["1"]
            os.kill(old, signal.SIGKILL)
            p.wait_until(lambda: p.get("/healthz")[0] == 200 and pids(p)["1"] != old)
            p.wait_until_ready()
            assert psutil.Process(p.process.pid).num_fds() < FILES / 2
            p.process.send_signal(signal.SIGTERM)
            assert p.process.wait(120) == 0
        log = p.log
    assert "mesh generation 1 is up" in log
    assert log.count("places for connections are taken") == 1
    assert len(log) < LOG_BYTES
    assert "Traceback" not in log


@pytest.mark.slow
def test_too_few_files_are_one_line(tmp_path):
    start = time.monotonic()
    with running(*SMALL, out=tmp_path / "out", module=limited.MODULE, environment=few_files(48)) as program:
        assert program.process.wait(240) == 2, (time.monotonic() - start, program.log)
        assert "ulimit -n: 48 open files are too few to serve; at least 256 must be allowed" in program.log
        assert "Traceback" not in program.log
