"""Planned changes: edited in the table, run by the server, imported and exported."""

import json

import pytest
from playwright.sync_api import FilePayload

from pp1_orchestrator.types import PromptUpdate, TimelineEntry, Transition
from tests.ui.browser import Visit
from tests.ui.page_server import BLUE, GREEN, RED, PageServer, ask

ROW = "#pp1-entries .entry:nth-child({}) .{}"


@pytest.fixture
def table(page) -> Visit:
    page.page.click("#pp1-timeline summary")
    return page


def add(page: Visit, number: int, chunk: int, prompt: str) -> None:
    page.page.click("#pp1-add-entry")
    page.page.fill(ROW.format(number, "chunk"), str(chunk))
    page.page.fill(ROW.format(number, "text"), prompt)


def load(page: Visit, content: str) -> None:
    page.page.set_input_files(
        "#pp1-file", FilePayload(name="mine.json", mimeType="application/json", buffer=content.encode())
    )


def planned(site: PageServer, count: int) -> list[TimelineEntry]:
    site.until(lambda: len(site.stream.timeline()) == count)
    return site.stream.timeline()


def wait_error(page: Visit, text: str) -> None:
    page.page.wait_for_function(
        "text => document.querySelector('#pp1-timeline-error:not([hidden])')?.textContent === text", arg=text
    )


def test_a_table_is_run_by_the_server_and_what_is_to_come_is_shown(table, site):
    ask(table, "a red circle")
    table.wait_colour(RED)
    add(table, 1, 0, "a green circle")
    add(table, 2, 8, "a blue circle")
    table.page.fill(ROW.format(2, "steps"), "3")
    table.page.select_option(ROW.format(2, "cut"), "recache")
    add(table, 3, 10_000, "a red star")
    table.page.click("#pp1-run")
    table.page.wait_for_selector("#pp1-coming:not([hidden])")
    table.wait_colour(GREEN)
    table.wait_colour(BLUE)
    table.page.wait_for_function("document.querySelector('#pp1-timeline summary span')?.textContent === '1 to come'")
    assert "a red star" in table.page.inner_text("#pp1-coming")
    assert site.stream.recording()[-1].transition == Transition(3)
    assert site.stream.recording()[-1].cut == "recache"
    table.page.click("#pp1-clear")
    planned(site, 0)
    table.page.wait_for_selector("#pp1-coming", state="hidden")
    assert table.page.locator("#pp1-entries .entry").count() == 3
    assert table.page.locator("#pp1-clear").is_disabled()
    assert table.complaints == []


def test_the_form_adds_a_whole_blend(table, site):
    table.page.click("#pp1-mix summary")
    table.page.fill("#pp1-prompt textarea", "a red circle")
    table.page.click("#pp1-add")
    table.page.fill("#pp1-rows input[type=text]", "a blue circle")
    table.page.fill("#pp1-steps", "4")
    table.page.click("#pp1-add-entry")
    assert table.page.locator(ROW.format(1, "text")).get_attribute("readonly") is not None
    table.page.fill(ROW.format(1, "chunk"), "10000")
    table.page.click("#pp1-run")
    (entry,) = planned(site, 1)
    assert [prompt.text for prompt in entry.prompts] == ["a red circle", "a blue circle"]
    assert (entry.prompt, entry.transition) == (None, Transition(4))
    table.page.click("#pp1-clear")
    planned(site, 0)


def test_an_exported_file_can_be_imported(table, site, tmp_path):
    entries = [
        {"chunk": 0, "prompt": "a red circle", "transition": {"method": "slerp", "steps": 5}},
        {"chunk": 6, "prompts": [{"text": "a", "weight": 2}, {"text": "b", "weight": 1}], "blend": "slerp"},
        {"chunk": 9, "seed": 7, "cut": "hard", "dropped": 2},
    ]
    load(table, json.dumps({"entries": entries}))
    table.page.wait_for_function("document.querySelectorAll('#pp1-entries .entry').length === 3")
    assert table.page.input_value(ROW.format(2, "text")) == "67 % a + 33 % b"
    assert table.page.locator(ROW.format(3, "text")).get_attribute("placeholder") == "seed 7, 2 dropped"
    with table.page.expect_download() as download:
        table.page.click("#pp1-export")
    assert download.value.suggested_filename == "timeline.json"
    download.value.save_as(tmp_path / "timeline.json")
    assert json.loads((tmp_path / "timeline.json").read_text()) == {"entries": entries}
    table.page.click("#pp1-run")
    planned(site, 3)  # a running stream drops no chunks: that part of a recording is left out
    assert [entry.dropped for entry in site.stream.timeline()] == [0, 0, 0]
    table.page.click("#pp1-clear")
    planned(site, 0)
    assert table.complaints == []


def test_the_recording_can_be_loaded_and_run_again(table, site):
    site.stream.update_prompt(PromptUpdate("a blue square", transition=Transition(2)))
    table.page.click("#pp1-recording")
    table.page.wait_for_function("document.querySelectorAll('#pp1-entries .entry').length > 1")
    rows = table.page.locator("#pp1-entries .entry")
    assert rows.count() == len(site.stream.recording())
    assert rows.first.locator("small").inner_text() == "seed 42"
    assert rows.last.locator(".text").input_value() == "a blue square"
    assert rows.last.locator(".steps").input_value() == "2"


def test_a_timeline_of_another_client_is_shown(page, site):
    chunk = site.stream.chunk
    site.stream.set_timeline([TimelineEntry(chunk=chunk + 5000, cut="hard", seed=3)], relative=False)
    page.page.wait_for_function("document.querySelector('#pp1-timeline summary span')?.textContent === '1 to come'")
    page.page.reload()
    page.page.wait_for_function("document.querySelector('#pp1-timeline summary span')?.textContent === '1 to come'")
    page.page.click("#pp1-timeline summary")
    assert "hard · seed 3" in page.page.inner_text("#pp1-coming")
    page.page.click("#pp1-clear")
    planned(site, 0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("no", "mine.json is not JSON."),
        ('{"chunk": 0}', "This is not a timeline: a list of entries is needed."),
        ('[{"chunk": 1.5}]', "Entry 1 has no chunk, a whole number from 0."),
        ("null", "This is not a timeline: a list of entries is needed."),
        (json.dumps([{"chunk": at} for at in range(501)]), "These are 501 entries; the table has room for 500."),
    ],
)
def test_a_file_that_is_not_a_timeline_is_refused_and_the_table_stays(table, content, said):
    add(table, 1, 3, "a red circle")
    load(table, content)
    wait_error(table, said)
    assert table.page.input_value(ROW.format(1, "text")) == "a red circle"


def test_an_error_of_the_server_is_shown(table, site):
    before = len(site.stream.timeline())
    add(table, 1, 3, "a red circle")
    add(table, 2, 3, "a blue circle")
    table.page.click("#pp1-run")
    wait_error(table, "chunk 3 has two entries")
    table.page.fill(ROW.format(2, "chunk"), "")
    table.page.click("#pp1-run")
    wait_error(table, "Entry 2: a chunk is a whole number from 0.")
    assert len(site.stream.timeline()) == before
