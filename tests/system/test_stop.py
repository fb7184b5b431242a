"""Ctrl-C and SIGTERM: exit 0 in time, and nothing is left behind."""

import signal

import psutil
import pytest

from .program import is_listening, running, shared_memory

STOP_S = 10
HEADER_BYTES = 4096
"""More than an MP4 file without a picture has."""


def assert_gone(family, port, memory_before):
    _, left = psutil.wait_procs(family[1:], timeout=1)
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
        assert program.process.wait(timeout=STOP_S) == 0, program.log
        assert_gone(family, program.port, memory_before)
        assert "Traceback" not in program.log


@pytest.mark.parametrize("mode", ["serve", "bench"])
def test_a_stream_that_is_still_loading_stops_cleanly(tmp_path, mode):
    memory_before = shared_memory()
    with running(f"run={mode}", out=tmp_path / "out", cold=True) as program:
        program.wait_until(lambda: len(program.family()) >= 3)
        family = program.family()
        program.interrupt()
        assert program.process.wait(timeout=STOP_S) == 0, program.log
        assert_gone(family, program.port, memory_before)
        assert "Traceback" not in program.log


def test_a_bench_that_is_stopped_writes_what_it_measured(tmp_path):
    out = tmp_path / "out"
    with running("run=bench", "run.chunks=100000", "layout=inline", out=out) as program:
        program.wait_until(lambda: (out / "stream.mp4").exists() and (out / "stream.mp4").stat().st_size > HEADER_BYTES)
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(timeout=STOP_S) == 0, program.log
    assert {"summary.json", "chunks.jsonl", "trace.json", "stream.mp4"} <= {path.name for path in out.iterdir()}
