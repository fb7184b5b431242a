"""`-m` from the command line: every job gets its turn, and the sweep's folder tells what came of each."""

import json
import signal

import pytest

from pp1_orchestrator.report.jobs import UNFINISHED, read_record
from pp1_orchestrator.telemetry.summary import read_summary
from tests.system.program import run_to_end, running

TINY = ("run=bench", "layout=inline", "run.chunks=6", "run.warmup_chunks=2")
GOOD = {"sync": "0", "stage0_owned": "2"}
"""The folders of the good jobs of `sweep`."""
VIDEO_BYTES = 4096
"""More than an MP4 file without a picture has."""


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A broken job between two good ones."""
    folder = tmp_path_factory.mktemp("sweep")
    done = run_to_end("-m", *TINY, "overlap=sync,nonsense,stage0_owned", f"hydra.sweep.dir={folder}", out=folder)
    return folder, done


def best(folder) -> str:
    """By the rule as docs/sweeps.md tells it, from the files."""
    runs = {name: json.loads((folder / number / "summary.json").read_text()) for name, number in GOOD.items()}
    fastest = max(run["fps"] for run in runs.values())
    tied = {name: run for name, run in runs.items() if run["fps"] >= 0.97 * fastest}
    return min(tied, key=lambda name: tied[name]["prompt_updates"][0]["latency_ms"])


def test_the_exit_code_and_one_line_tell_of_the_broken_job(sweep):
    _, done = sweep
    assert done.returncode == 1, done.stdout + done.stderr
    assert "job 1 failed: overlap=nonsense: not an option; choices: " in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "Callback" not in done.stderr
    assert "[HYDRA]" not in done.stdout + done.stderr  # its lines look like ours


def test_every_job_has_its_record_and_the_good_ones_their_results(sweep):
    folder, _ = sweep
    records = [read_record(folder / str(number) / "job.json") for number in range(3)]
    assert [record.overrides[-1] for record in records] == ["overlap=sync", "overlap=nonsense", "overlap=stage0_owned"]
    assert [record.error is None for record in records] == [True, False, True]
    assert [record.overlap for record in records] == ["sync", None, "stage0_owned"]
    assert (records[0].seed, records[0].script) == (42, None)
    for number in (0, 2):
        assert {"summary.json", "stream.mp4"} <= {path.name for path in (folder / str(number)).iterdir()}


def test_the_report_lists_the_broken_job_and_recommends_the_measured_best(sweep):
    folder, _ = sweep
    text = (folder / "report.md").read_text()
    page = (folder / "report.html").read_text()
    fps = {name: read_summary(folder / number / "summary.json").fps for name, number in GOOD.items()}
    assert all(fps.values())
    for written in (text, page):
        assert "overlap=nonsense: not an option; choices: " in written
        assert all(f"{rate:.1f}" in written for rate in fps.values() if rate)
        assert f"python -m pp1_orchestrator layout=inline overlap={best(folder)}\n" in written.replace("<", "\n")
        assert "All jobs that were measured made the same video" in written
    assert {"phases.svg", "period.svg", "latency.svg"} <= {path.name for path in folder.iterdir()}


def test_a_sweep_of_nothing_but_failures_still_ends_in_a_report(tmp_path):
    """One fails when composed, one when its settings are read."""
    done = run_to_end("-m", "layout=nonsense,inline", "seed=-1", f"hydra.sweep.dir={tmp_path}", out=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    text = (tmp_path / "report.md").read_text()
    assert "- job 0, layout=nonsense: layout=nonsense: not an option; choices: " in text
    assert "- job 1, layout=inline: seed=-1: expected `int` >= 0" in text
    assert "None: no job was measured." in text


def test_a_stop_ends_the_whole_sweep_and_reports_what_was_done(tmp_path):
    many = ("run=bench", "layout=inline", "run.chunks=100000", "run.warmup_chunks=0")
    with running("-m", *many, "overlap=sync,stage0_owned", f"hydra.sweep.dir={tmp_path}", out=tmp_path) as program:
        video = tmp_path / "0" / "stream.mp4"
        program.wait_until(lambda: video.exists() and video.stat().st_size > VIDEO_BYTES)
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(timeout=240) == 0, program.log
    assert not (tmp_path / "1").exists()
    assert read_record(tmp_path / "0" / "job.json").error == UNFINISHED
    assert f"- job 0, job 0: {UNFINISHED}" in (tmp_path / "report.md").read_text()
    assert "Traceback" not in program.log
