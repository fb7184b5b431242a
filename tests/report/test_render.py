"""report.md and report.html from hand-made sweep folders: every figure, every failure, nothing from outside."""

import base64
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pp1_orchestrator.report.jobs import UNFINISHED
from pp1_orchestrator.report.outcome import last_line
from pp1_orchestrator.report.render import write_report
from pp1_orchestrator.report.sweep_manifest import Manifest, write_manifest
from tests.report.factories import COMMON, MACHINE, PIXELS, add_job, add_load, add_plan, summary

PLOTS = {"fps.svg", "phases.svg", "period.svg", "latency.svg"}


class Page(HTMLParser):
    """Tags with their attributes, and the text that a reader sees."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def report(sweep: Path) -> tuple[str, str]:
    """The Markdown and the HTML of a sweep's folder."""
    write_report(sweep, MACHINE)
    return (sweep / "report.md").read_text(), (sweep / "report.html").read_text()


def table(markdown: str) -> dict[str, dict[str, str]]:
    """The Markdown table of the jobs: the cells by column, by job."""
    jobs = markdown.partition("## Plan and measurement")[0]
    lines = [line for line in jobs.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert len({len(row) for row in rows}) == 1
    return {row[1]: dict(zip(rows[0], row, strict=True)) for row in rows[2:]}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Two jobs that went well, one that could not start, one that broke after some chunks."""
    tmp_path = tmp_path_factory.mktemp("sweep")
    add_job(tmp_path, 0, "overlap=sync", measured=summary("sync", 0.4, 0.9))
    add_job(tmp_path, 1, "overlap=stage0_owned", measured=summary("stage0_owned", 0.24, 0.5))
    add_job(tmp_path, 2, "overlap=nonsense", error="overlap=nonsense: not an option; choices: a, b")
    add_job(tmp_path, 3, "overlap=broken", measured=summary("broken", 0.1), error="the mesh went silent")
    return tmp_path


@pytest.fixture(scope="module")
def written(sweep):
    return report(sweep)


def test_the_table_has_every_figure_of_a_job(written):
    rows = table(written[0])
    assert rows["overlap=stage0_owned"] == {
        "#": "1",
        "job": "overlap=stage0_owned",
        "FPS": "50.0",
        "FPS, 95 %": rows["overlap=stage0_owned"]["FPS, 95 %"],
        "runs": "1",
        "period ms": "240.0",
        "mesh ms": "200.0",
        "decode ms": "185.0",
        "overlap score": "0.80",
        "hidden ms": "160.0",
        "mesh idle ms": "3.0",
        "prompt to pixels": "2 / 500 ms",
        "wire bytes": "1,004 + 5,000",
        "memory MB by rank": "0: 10.0 (peak 300), 1: 2.5",
        "pixels": PIXELS[:8],
    }
    assert rows["overlap=sync"]["FPS"] == "30.0"


def test_the_page_has_every_cell_of_the_table(written):
    markdown, page = written
    cells = [cell for row in table(markdown).values() for cell in row.values()]
    seen = " ".join(html.unescape(page).split())
    assert [cell for cell in cells if cell.removesuffix(" (failed)") not in seen] == []


def test_the_best_is_recommended_with_its_command(written):
    for text in written:
        assert re.search(
            r"The fastest: 50\.0 FPS \(4\d\.\d to 5\d\.\d\), 67 % more \(\d+ to \d+\) than the next, "
            r"overlap=sync with 30\.0 \(2\d\.\d to 3\d\.\d\)\.",
            text,
        )
        assert "python -m pp1_orchestrator overlap=stage0_owned\n" in text.replace("</code></pre>", "\n")


def test_a_failed_job_is_listed_and_its_figures_do_not_count(written):
    markdown, page = written
    assert "- job 2, overlap=nonsense: overlap=nonsense: not an option; choices: a, b" in markdown
    assert "- job 3, overlap=broken: the mesh went silent" in markdown
    assert "the mesh went silent" in page
    assert set(list(table(markdown)["overlap=broken (failed)"].values())[2:]) == {"–"}


def test_what_was_measured_on_is_told(written):
    markdown, page = written
    facts = ["A Processor, 2 cores", "2.9.0 (Python 3.11.7)", "2026-11-23", "none: the prompt did not change"]
    for fact in [*facts, "6 chunks", "2 chunks, left out"]:
        assert fact in markdown
        assert fact in page
    assert "- seed: 7\n" in markdown


def test_the_page_asks_nothing_of_a_network(written):
    page = Page(written[1])
    assert {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object"} == set()
    sources = [
        value or "" for _, attributes in page.tags for key, value in attributes.items() if key in ("src", "href")
    ]
    assert len(sources) == len(PLOTS)
    for source in sources:
        head, _, data = source.partition(",")
        assert head == "data:image/svg+xml;base64"
        svg = base64.b64decode(data).decode()
        assert re.findall(r'(?:href|src)="(?!#)[^"]*"|url\((?!#)[^)]*\)|@import', svg) == []
    assert "url(" not in written[1]


def test_the_plots_lie_beside_the_report_and_follow_the_readers_colours(sweep, written):
    markdown, page = written
    assert {path.name for path in sweep.glob("*.svg")} == PLOTS
    for name in PLOTS:
        svg = (sweep / name).read_text()
        assert f"]({name})" in markdown
        assert base64.b64encode(svg.encode()).decode() in page
        assert "currentColor" in svg
        assert "prefers-color-scheme:dark" in svg


def test_the_same_folder_gives_the_same_report(sweep, written):
    assert report(sweep) == written


def test_what_all_jobs_share_is_said_once(written):
    markdown, page = written
    assert "In all jobs: " + ", ".join(f"`{override}`" for override in COMMON) in markdown
    assert all(f"<code>{override}</code>" in page for override in COMMON)


def test_a_sweep_of_one_job(tmp_path):
    add_job(tmp_path, 0, measured=summary())
    markdown, page = report(tmp_path)
    assert markdown.startswith("# Sweep of 1 job\n")
    assert list(table(markdown)) == ["job 0"]
    assert "The only job with a frame rate: 40.0 FPS (" in page
    assert "same video" not in markdown


def test_a_sweep_in_which_everything_failed(tmp_path):
    add_job(tmp_path, 0, "seed=-1", error="seed=-1: expected `int` >= 0")
    markdown, page = report(tmp_path)
    assert "None: no job was measured." in markdown
    assert "seed=-1: expected `int` &gt;= 0" in page
    assert Page(page).text.count("expected `int` >= 0") == 1
    assert list(tmp_path.glob("*.svg")) == []


def test_a_job_that_left_no_summary_has_a_row_and_is_no_failure(tmp_path):
    add_job(tmp_path, 0, "seed=1")
    add_job(tmp_path, 1, "seed=2", measured=summary())
    markdown, _ = report(tmp_path)
    assert "## Failed" not in markdown
    assert table(markdown)["seed=1"]["FPS"] == "–"


def test_a_summary_that_cannot_be_read_fails_its_job_alone(tmp_path):
    (add_job(tmp_path, 0, "seed=1") / "summary.json").write_text("{")
    add_job(tmp_path, 1, "seed=2", measured=summary())
    markdown, _ = report(tmp_path)
    assert "- job 0, seed=1: summary.json can't be read: " in markdown
    assert "The only job with a frame rate" in markdown


def test_a_job_that_ended_within_its_warm_up_is_shown_but_not_recommended(tmp_path):
    add_job(tmp_path, 0, measured=summary(chunks=2))
    markdown, _ = report(tmp_path)
    assert table(markdown)["job 0"]["FPS"] == "–"
    assert "None: no job was measured." in markdown


def test_jobs_are_found_whatever_their_folders_are_called_and_stand_in_order(tmp_path):
    for number in (10, 9):
        add_job(tmp_path / f"deep{number}", number, f"seed={number}", measured=summary())
    assert list(table(report(tmp_path)[0])) == ["seed=9", "seed=10"]


@pytest.mark.parametrize(
    ("pixels", "text"),
    [("ab" * 32, "All jobs that were measured made the same video"), ("ef" * 32, "with the same one: 0, 1; 2.")],
)
def test_equal_videos_are_named(tmp_path, pixels, text):
    for number in (0, 1):
        add_job(tmp_path, number, f"seed={number}", measured=summary())
    add_job(tmp_path, 2, "seed=2", measured=summary(pixels=pixels))
    for written in report(tmp_path):
        assert text in written


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


def test_without_a_plan_there_is_no_section_for_it(written):
    assert "Plan and measurement" not in written[0]


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


def test_text_from_a_configuration_cannot_become_markup(tmp_path):
    add_job(tmp_path, 0, "run.prompt='<b>a | b</b>'", measured=summary())
    add_job(tmp_path, 1, "run.prompt=$x^2$", error="<script>alert(1)</script>")
    markdown, page = report(tmp_path)
    assert len(table(markdown)) == 2
    assert "script" not in {tag for tag, _ in Page(page).tags}
    assert "run.prompt='<b>a | b</b>'" in Page(page).text
