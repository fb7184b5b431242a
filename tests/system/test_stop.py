"""Ctrl-C and SIGTERM: exit 0 in time, and nothing is left behind."""

import json
import os
import signal

import psutil
import pytest

from tests.system.program import is_listening, running, shared_memory
from tests.timing import stopwatch

STOP_S, SECOND_S = 10, 2
"""From the signal to the end, on an idle machine."""
SMALL = ("layout=cpu", "layout.mesh_ranks=1", "stream.height=64", "stream.width=64")
HEADER_BYTES = 4096
"""More than an MP4 file without a picture has."""


def assert_ends(program, within_s=STOP_S):
    """In time, and with exit code 0."""
    with stopwatch() as watch:
        assert program.process.wait(240) == 0, program.log
    assert watch.within(within_s)


def assert_gone(family, port, memory_before):
    _, left = psutil.wait_procs(family[1:], timeout=120)
    assert [process for process in left if process.status() != psutil.STATUS_ZOMBIE] == []
    assert not is_listening(port)
    assert shared_memory() <= memory_before


@pytest.mark.parametrize("layout", ["cpu", "inline"])
@pytest.mark.parametrize("how", ["ctrl-c", "sigterm"])
def test_a_running_stream_stops_cleanly(tmp_path, layout, how):
    memory_before = shared_memory()
    with running(f"layout={layout}", out=tmp_path / "out") as program:
        program.wait_until_ready()
        family = program.family()
        assert is_listening(program.port)
        if how == "ctrl-c":
            program.interrupt()
        else:
            program.process.send_signal(signal.SIGTERM)
        assert_ends(program)
        assert_gone(family, program.port, memory_before)
        assert "Traceback" not in program.log
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert (summary["pixels_sha256"], summary["latents_sha256"]) == ("", "")  # only a bench pays for digests


def pause(program):
    program.wait_until_ready()
    program.post("/api/control", {"action": "pause"})
    program.wait_until(lambda: program.state()["paused"])


def lose_the_mesh(program):
    """The next mesh is a minute away."""
    program.wait_until_ready()
    os.kill(program.state()["ranks"]["1"]["pid"], signal.SIGKILL)
    program.wait_until(lambda: program.state()["state"] == "restarting")


def lose_the_mesh_and_load(program):
    """The next mesh is being loaded."""
    program.wait_until_ready()
    old = program.state()["ranks"]["1"]["pid"]
    os.kill(old, signal.SIGKILL)
    program.wait_until(lambda: program.state()["ranks"]["1"]["pid"] != old)


@pytest.mark.parametrize(("reach", "pause_s"), [(pause, 0), (lose_the_mesh, 60), (lose_the_mesh_and_load, 0)])
def test_sigterm_ends_it_in_every_state(tmp_path, reach, pause_s):
    options = (*SMALL, f"supervision.pauses_s=[{pause_s}]")
    with running(*options, out=tmp_path / "out") as program:
        reach(program)
        family = program.family()
        program.process.send_signal(signal.SIGTERM)
        assert_ends(program)
        assert_gone(family, program.port, shared_memory())
        assert "Traceback" not in program.log


def test_the_second_signal_ends_it_at_once(tmp_path):
    """A chunk takes so long that draining can't be over before."""
    with running(*SMALL, "debug.mesh_s=60", "deadlines.message=120", out=tmp_path / "out") as program:
        program.wait_until(lambda: program.get("/healthz")[0] == 200)
        family = program.family()
        program.process.send_signal(signal.SIGTERM)
        program.wait_until(lambda: "the stream is draining" in program.log)
        program.process.send_signal(signal.SIGTERM)
        assert_ends(program, SECOND_S)
        assert_gone(family, program.port, shared_memory())
        assert "ended at the second signal" in program.log


@pytest.mark.parametrize("mode", ["serve", pytest.param("bench", marks=pytest.mark.slow)])
def test_a_stream_that_is_still_loading_stops_cleanly(tmp_path, mode):
    memory_before = shared_memory()
    with running(f"run={mode}", out=tmp_path / "out", cold=True) as program:
        program.wait_until(lambda: len(program.family()) >= 3)
        family = program.family()
        program.process.send_signal(signal.SIGTERM if mode == "serve" else signal.SIGINT)
        assert_ends(program)
        assert_gone(family, program.port, memory_before)
        assert "Traceback" not in program.log


@pytest.mark.slow
def test_a_bench_that_is_stopped_writes_what_it_measured(tmp_path):
    out = tmp_path / "out"
    with running("run=bench", "run.chunks=100000", "layout=inline", out=out) as program:
        program.wait_until(lambda: (out / "stream.mp4").exists() and (out / "stream.mp4").stat().st_size > HEADER_BYTES)
        program.process.send_signal(signal.SIGTERM)
        assert_ends(program)
    assert {"summary.json", "chunks.jsonl", "trace.json", "stream.mp4"} <= {path.name for path in out.iterdir()}
