"""The program while its media process fails: the stream, the API and a clip go on, and nothing is left at the end."""

import contextlib
import re
import signal

import psutil
import pytest

from benchmarks.chaos.watcher import Watcher
from tests.system.program import Running, running
from tests.timing import scaled

SMALL = ("layout=inline", "stream.height=64", "stream.width=64")
GONE_S = 5
"""On an idle machine."""


def media_process(program: Running) -> psutil.Process:
    """The one that is up."""
    program.wait_until(lambda: figure(program, "pp1_media_up") == 1)
    return program.media_processes()[0]


def figure(program: Running, name: str) -> float:
    """The sum over all labels."""
    return sum(map(float, re.findall(rf"^{name}(?:{{.*}})? (\S+)$", program.get("/metrics")[1], re.M)))


def wait_for_viewer(program: Running) -> None:
    """A viewer comes, as soon as it can, and sees frames."""
    program.wait_until(lambda: figure(program, "pp1_media_up") == 1)
    with contextlib.closing(Watcher(f"http://127.0.0.1:{program.port}")) as viewer:
        program.wait_until(lambda: len(viewer.frames) > 12)


@pytest.mark.slow
def test_viewers_come_back_and_nothing_else_notices(tmp_path):
    with running(*SMALL, "deadlines.media=2", "log.format=json", out=tmp_path / "out") as program:
        program.wait_until_ready()
        program.post("/api/clips", {"action": "start"})
        wait_for_viewer(program)
        for count, number in enumerate((signal.SIGKILL, signal.SIGSTOP), 1):
            failed, before = media_process(program), program.state()
            failed.send_signal(number)
            program.wait_until(lambda count=count: figure(program, "pp1_media_restarts_total") == count)
            wait_for_viewer(program)
            after = program.state()
            assert after["chunk"] > before["chunk"]
            assert (after["epoch"], after["state"]) == (before["epoch"], "ready")
            assert program.get("/healthz")[0] == program.get("/readyz")[0] == 200
            assert not failed.is_running()
        clip = program.post("/api/clips", {"action": "stop"})
        assert (clip["state"], clip["frames"] > 0) == ("ready", True)
        media = program.media_processes()
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(scaled(30)) == 0
        assert [process for process in media if process.is_running()] == []
    assert program.log.count("restarting it in") == 2
    assert "Traceback" not in program.log


def test_a_media_process_that_is_stopped_ends_with_rank_0(tmp_path):
    with running(*SMALL, out=tmp_path / "out") as program:
        program.wait_until_ready()
        media = media_process(program)
        wait_for_viewer(program)
        media.send_signal(signal.SIGSTOP)
        program.process.send_signal(signal.SIGKILL)
        program.process.wait()
        psutil.wait_procs([media], timeout=scaled(GONE_S))
        assert not media.is_running() or media.status() == psutil.STATUS_ZOMBIE
