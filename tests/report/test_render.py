"""report.md and report.html from hand-made sweep folders: every figure, every failure, nothing from outside."""

import base64
import html
import re
from html.parser import HTMLParser

import pytest

from tests.report.factories import COMMON, PIXELS, add_job, summary
from tests.report.pages import report, table

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


def test_without_a_plan_there_is_no_section_for_it(written):
    assert "Plan and measurement" not in written[0]


def test_text_from_a_configuration_cannot_become_markup(tmp_path):
    add_job(tmp_path, 0, "run.prompt='<b>a | b</b>'", measured=summary())
    add_job(tmp_path, 1, "run.prompt=$x^2$", error="<script>alert(1)</script>")
    markdown, page = report(tmp_path)
    assert len(table(markdown)) == 2
    assert "script" not in {tag for tag, _ in Page(page).tags}
    assert "run.prompt='<b>a | b</b>'" in Page(page).text
