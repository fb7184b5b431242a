"""The run's folder takes nothing any more: the stream does not care, and what is lost is said, briefly."""

import contextlib
import io
import logging
import os
import signal
import sys
from typing import IO

import pytest

from pp1_orchestrator.processes.log_setup import REPORT_EVERY_S, FileErrorReport, limit_file_errors
from tests.system.program import running

CHOICES = (
    "layout=cpu", "layout.mesh_ranks=1", "stream.height=64", "stream.width=64", "stream.fps=48",
    "supervision.pauses_s=[0]",
)  # fmt: skip
CLIP = '{"error":"clips can\'t be written at this moment"}'


@pytest.mark.slow
def test_a_full_disk_and_a_folder_that_is_gone_cost_files_and_nothing_else(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "pp1_orchestrator.log").symlink_to("/dev/full")  # every line of the log meets a full disk
    with running(*CHOICES, "run.restarts=3", out=out) as program:
        program.wait_until_ready()
        out.rename(tmp_path / "elsewhere")
        out.write_text("in the way")
        first = program.state()
        program.wait_until(lambda: program.state()["chunk"] > first["chunk"] + 5)
        assert program.get("/readyz")[0] == 200
        assert program.get("/api/clips", {"action": "start"}) == (503, CLIP)
        os.kill(first["ranks"]["1"]["pid"], signal.SIGKILL)
        program.wait_until(lambda: program.state()["epoch"] == 1 and program.state()["state"] == "ready")
        program.interrupt()
        assert program.process.wait(240) == 0, program.log
    said = program.log
    assert said.count("pp1_orchestrator.log can't be written: [Errno 28] No space left on device") == 1
    for what in ("stacks", "a part of the trace", "what the run measured"):
        assert f"{what} can't be written: [Errno 20] Not a directory" in said
    assert "Traceback" not in said
    assert "Logging error" not in said


def test_a_log_that_stays_full_is_told_once_a_minute(monkeypatch):
    """A real handler on a full disk, whose clock the test holds."""
    said, now_s = io.StringIO(), [1000.0]
    monkeypatch.setattr(sys, "__stderr__", said)
    handler = logging.FileHandler("/dev/full")
    handler.handleError = FileErrorReport("run.log", lambda: now_s[0])
    line = logging.LogRecord("test", logging.INFO, __file__, 1, "a line", None, None)
    told = []
    for later_s in (0, REPORT_EVERY_S - 1, 1, REPORT_EVERY_S - 0.5, 0.5):
        now_s[0] += later_s
        handler.handle(line)
        told.append(said.getvalue().count("run.log can't be written: [Errno 28] No space left on device\n"))
    with pytest.raises(OSError, match="No space left"):
        handler.close()
    assert REPORT_EVERY_S == 60
    assert told == [1, 1, 2, 2, 3]


def full_disk() -> IO[str]:
    return os.fdopen(os.open("/dev/full", os.O_WRONLY), "w")


def closed_pipe() -> IO[str]:
    """Its writing end."""
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "w")


@pytest.mark.parametrize(("opened", "reason"), [(full_disk, "[Errno 28] No space left"), (closed_pipe, "[Errno 32]")])
def test_a_standard_output_that_takes_nothing_is_told_in_a_line(monkeypatch, opened, reason):
    """As `pp1 > log` on a full disk has it, also where standard error is there, too."""
    said, stream = io.StringIO(), opened()
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.StreamHandler(stream)])
    for error_stream in (said, stream):
        monkeypatch.setattr(sys, "__stderr__", error_stream)
        limit_file_errors()
        for number in range(3):
            logging.getLogger("test").error("line %d", number)
    (line,) = said.getvalue().splitlines()
    assert line.startswith(f"the standard output can't be written: {reason}")
    with contextlib.suppress(OSError):
        stream.close()
