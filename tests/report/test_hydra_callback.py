"""`-m` from the command line: every job gets its turn, and the sweep's folder tells what came of each."""

import fcntl
import json
import re
import shutil
import signal

import msgspec
import pytest

from pp1_orchestrator.report.jobs import UNFINISHED, read_record, write_record
from tests.system.program import START_S, run_to_end, running

TINY = ("run=bench", "layout=inline", "run.chunks=6")
GOOD = {"sync": ("0", "3"), "stage0_owned": ("2", "5")}
"""The folders of the good jobs of `sweep`, run by run."""
TWICE = ("overlap=sync,nonsense,stage0_owned", "sweep.repeats=2")
SWEEP_S = 3 * START_S
"""For a handful of runs, one after the other."""
VIDEO_BYTES = 4096
"""More than an MP4 file without a picture has."""


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A broken job between two good ones, each of which runs twice."""
    folder = tmp_path_factory.mktemp("sweep")
    return folder, run_to_end("-m", *TINY, *TWICE, f"hydra.sweep.dir={folder}", out=folder, timeout_s=SWEEP_S)


def test_the_exit_code_and_one_line_tell_of_the_broken_job(sweep):
    _, done = sweep
    assert done.returncode == 1, done.stdout + done.stderr
    assert "job 1 failed: overlap=nonsense: not an option; choices: " in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "Callback" not in done.stderr
    assert "[HYDRA]" not in done.stdout + done.stderr  # its lines look like ours


def test_every_run_has_its_record_and_the_good_ones_their_results(sweep):
    folder, _ = sweep
    records = {path.parent.name: read_record(path) for path in folder.glob("*/job.json")}
    assert {name: (record.number, record.repeat) for name, record in records.items()} == {
        "0": (0, 0), "1": (1, 0), "2": (2, 0), "3": (0, 1), "5": (2, 1)
    }  # fmt: skip
    assert [records[name].overrides[-2] for name in "012"] == [
        "overlap=sync", "overlap=nonsense", "overlap=stage0_owned"
    ]  # fmt: skip
    assert [records[name].error is None for name in "01235"] == [True, False, True, True, True]
    assert [records[name].overlap for name in "012"] == ["sync", None, "stage0_owned"]
    assert (records["0"].seed, records["0"].script) == (42, None)
    for number in (number for runs in GOOD.values() for number in runs):
        made = {path.name for path in (folder / number).iterdir()}
        assert {"summary.json", "stream.mp4", "load.jsonl"} <= made


def test_the_report_lists_the_broken_job_and_recommends_a_good_one(sweep):
    folder, _ = sweep
    outcome = json.loads((folder / "recommendation.json").read_text())
    best = outcome["label"].removeprefix("overlap=")
    assert best in GOOD
    assert set(outcome["tied"]) <= {f"overlap={name}" for name in GOOD} - {outcome["label"]}
    for written in ((folder / "report.md").read_text(), (folder / "report.html").read_text()):
        assert "overlap=nonsense: not an option; choices: " in written
        assert f"{outcome['fps']['rate']:.1f}" in written
        assert f"python -m pp1_orchestrator layout=inline overlap={best}\n" in written.replace("<", "\n")
        assert "All jobs that were measured made the same video" in written
        assert "Plan and measurement" in written
    plots = {path.name for path in folder.glob("*.svg")}
    assert plots == {"fps.svg", "phases.svg", "period.svg", "latency.svg"}


def test_the_last_line_is_the_recommendation_with_its_interval_and_command(sweep):
    folder, done = sweep
    outcome = json.loads((folder / "recommendation.json").read_text())
    last = done.stdout.splitlines()[-1]  # the other stream has progress bars
    assert re.search(rf"recommended: {outcome['label']}, [\d.]+ FPS \(.+\), ", last)
    assert last.endswith(outcome["command"])


@pytest.mark.slow
def test_the_same_command_makes_only_what_is_not_there(sweep, tmp_path):
    """Of a copy one run was stopped, and one more is asked for; the others stay as they are."""
    folder, more = tmp_path / "sweep", ("overlap=sync,nonsense,stage0_owned", "sweep.repeats=3")
    shutil.copytree(sweep[0], folder)
    stopped = read_record(folder / "3" / "job.json")
    write_record(msgspec.structs.replace(stopped, error=UNFINISHED), folder / "3")
    before = {name: (folder / name / "summary.json").stat().st_mtime_ns for name in "0235"}
    done = run_to_end("-m", *TINY, *more, f"hydra.sweep.dir={folder}", out=folder, timeout_s=SWEEP_S)
    assert done.returncode == 1, done.stdout + done.stderr
    said = done.stdout + done.stderr
    assert "3 of 7 runs are there from before" in said
    after = {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("*/summary.json")}
    assert set(after) == {"0", "2", "3", "5", "6", "8"}
    assert [name for name in "0235" if after[name] != before[name]] == ["3"]
    assert {path.name: read_record(path / "job.json").repeat for path in folder.glob("[68]")} == {"6": 2, "8": 2}


@pytest.mark.slow
def test_a_spent_budget_leaves_each_job_one_run(tmp_path):
    done = run_to_end(
        "-m", *TINY, "overlap=sync,stage0_owned", "sweep.budget_s=0.001", f"hydra.sweep.dir={tmp_path}", out=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sweep.budget_s=0.001: spent after 2 of 6 runs" in done.stdout + done.stderr
    assert {path.parent.name for path in tmp_path.glob("*/summary.json")} == {"0", "1"}
    assert "Fewer runs than sweep.repeats=3" in (tmp_path / "report.md").read_text()


def test_a_wrong_setting_of_the_sweep_itself_is_refused_before_it_begins(tmp_path):
    folder = tmp_path / "sweep"
    done = run_to_end("-m", *TINY, "seed=1,2", "sweep.repeats=0", f"hydra.sweep.dir={folder}", out=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "configuration error: sweep.repeats=0: expected `int` >= 1\n"
    assert not folder.exists()


def test_a_folder_in_which_a_sweep_is_running_is_refused(tmp_path):
    folder = tmp_path / "sweep"
    folder.mkdir()
    with (folder / "multirun.yaml").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = run_to_end("-m", *TINY, "seed=1,2", f"hydra.sweep.dir={folder}", out=tmp_path)
    line = f"configuration error: hydra.sweep.dir={folder}: another sweep is running there\n"
    assert (done.returncode, done.stderr) == (2, line)
    assert [path.name for path in folder.iterdir()] == ["multirun.yaml"]


def test_a_folder_that_can_not_be_made_is_refused(tmp_path):
    (tmp_path / "taken").touch()
    folder = tmp_path / "taken" / "sweep"
    done = run_to_end("-m", *TINY, "seed=1,2", f"hydra.sweep.dir={folder}", out=tmp_path)
    line = f"configuration error: hydra.sweep.dir={folder}: no sweep can leave its files there: Not a directory\n"
    assert (done.returncode, done.stderr) == (2, line)


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
