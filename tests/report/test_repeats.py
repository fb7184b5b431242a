"""The report of jobs with several runs: medians, ties, load, what was planned."""

import json
import re

import pytest

from pp1_orchestrator.report.jobs import UNFINISHED
from pp1_orchestrator.report.outcome import last_line
from pp1_orchestrator.report.render import write_report
from pp1_orchestrator.report.sweep_manifest import Manifest, write_manifest
from tests.report.factories import MACHINE, add_job, add_load, add_plan, summary
from tests.report.pages import report, table


def plan_rows(markdown: str) -> dict[str, list[str]]:
    section = markdown.partition("## Plan and measurement")[2].partition("\n## ")[0]
    lines = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return {cells[1].strip(): [cell.strip() for cell in cells[2:]] for cells in lines}


def test_what_was_planned_stands_beside_what_was_measured(tmp_path):
    memory = {"0": {"vae": 11_000_000}, "1": {"generator": 5_000_000}}
    add_plan(add_job(tmp_path, 0, "seed=0", measured=summary("sync")), {"sync": 312.34, "stage0_owned": 200.0}, memory)
    add_plan(add_job(tmp_path, 1, "seed=1", measured=summary("sync")), {"stage0_owned": 200.0})
    (add_job(tmp_path, 2, "seed=2", measured=summary()) / "plan.json").write_text("[]")
    markdown, page = report(tmp_path)
    rows = plan_rows(markdown)
    assert rows["job"] == ["period, ms", "memory of rank 0, MB", "memory of rank 1, MB", "limited by"]
    assert rows["seed=0"] == ["312.3 / 300.0", "11.0 / 10.0", "5.0 / 2.5 (+100% off)", "decode"]
    assert set(rows) == {"job", "seed=0"}
    assert "312.3 / 300.0" in page


def test_a_plan_that_is_far_off_is_remarked_upon(tmp_path):
    period = summary("sync").phases_ms.period.p50
    for number, share in enumerate((1.14, 1.2, 0.8)):
        add_plan(add_job(tmp_path, number, f"seed={number}", measured=summary("sync")), {"sync": share * period})
    markdown, _ = report(tmp_path)
    cells = [cells[0].partition(" / ")[2] for job, cells in plan_rows(markdown).items() if job != "job"]
    assert cells == [f"{period:.1f}", f"{period:.1f} (+20% off)", f"{period:.1f} (-20% off)"]
    assert "Plan and measurement part by more than 15 % in seed=1; seed=2." in markdown


def test_the_runs_of_a_job_are_one_row_with_the_median(tmp_path):
    for number, periods in enumerate([(0.30, 0.31, 0.40), (0.20, 0.21, 0.22)]):
        for repeat, period_s in enumerate(periods):
            add_job(tmp_path, number, f"seed={number}", measured=summary(period_s=period_s), repeat=repeat)
    rows = table(report(tmp_path)[0])
    assert {job: (row["runs"], row["period ms"]) for job, row in rows.items()} == {
        "seed=0": ("3", "310.0"),
        "seed=1": ("3", "210.0"),
    }


def test_a_run_that_failed_fails_its_job_and_one_that_was_stopped_does_not(tmp_path):
    for number, error in enumerate(("the mesh went silent", UNFINISHED)):
        add_job(tmp_path, number, f"seed={number}", measured=summary())
        add_job(tmp_path, number, f"seed={number}", measured=summary(), error=error, repeat=1)
    rows = table(report(tmp_path)[0])
    assert (rows["seed=0 (failed)"]["runs"], rows["seed=1"]["runs"]) == ("–", "1")


def test_a_busy_machine_is_told_and_makes_a_tie(tmp_path):
    for number, period_s in enumerate((0.30, 0.24)):
        for repeat in range(3):
            folder = add_job(tmp_path, number, f"seed={number}", measured=summary(period_s=period_s), repeat=repeat)
            add_load(folder, others=0.9, idle=0.0)
    for text in report(tmp_path):
        assert "The machine was busy in 6 of 6 runs: at most other processes took 0.9 of 2 cores." in text
        assert "A tie: 2 jobs" in text
    outcome = json.loads((tmp_path / "recommendation.json").read_text())
    assert outcome["tied"] == ["seed=0"]
    assert (outcome["label"], outcome["lead"]) == ("seed=1", None)


def test_the_same_on_an_idle_machine_has_a_winner(tmp_path):
    for number, period_s in enumerate((0.30, 0.24)):
        for repeat in range(3):
            folder = add_job(tmp_path, number, f"seed={number}", measured=summary(period_s=period_s), repeat=repeat)
            add_load(folder, others=0.02, idle=0.3)
    line = last_line(write_report(tmp_path, MACHINE))
    assert re.fullmatch(
        r"recommended: seed=1, 50\.0 FPS \([\d.]+ to [\d.]+\), 25 % more \(\d+ to \d+\) than the next: "
        r"python -m pp1_orchestrator seed=1",
        line,
    )
    outcome = json.loads((tmp_path / "recommendation.json").read_text())
    assert outcome["tied"] == outcome["warnings"] == []
    assert outcome["lead"]["rate"] == pytest.approx(0.25)
    assert 0.1 < outcome["lead"]["low"] < 0.25 < outcome["lead"]["high"] < 0.4


def test_fewer_runs_than_asked_for_are_told(tmp_path):
    add_job(tmp_path, 0, "seed=0", measured=summary())
    write_manifest(Manifest(jobs=[["seed=0"]], repeats=3), tmp_path)
    assert "Fewer runs than sweep.repeats=3" in report(tmp_path)[0]
