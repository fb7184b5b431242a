"""The program in one process, in a real browser: a blend with a transition changes the video step by step."""

import json

import pytest

from tests.system.program import Running, running
from tests.ui.browser import IN_BOTH, Visit, visit

DARK, STEPS = "a blue circle standing still on a black background", 6
WHITE = ("a blue circle standing still on a white background", "a blue square standing still on a white background")
BLACK_AT_MOST, WHITE_AT_LEAST = 60, 110
"""Of the red in the mean colour, from 0 to 255: a blue shape has none, so red shows the background."""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    out = tmp_path_factory.mktemp("blended") / "out"
    with running("layout=inline", f"run.prompt={DARK}", out=out) as program:
        program.wait_until_ready()
        yield program


def blends(program: Running) -> list[dict]:
    """Those that the program has recorded."""
    return [entry for entry in json.loads(program.get("/api/recording")[1])["entries"] if "prompts" in entry]


def ask_blend(page: Visit) -> None:
    page.page.click("#pp1-mix summary")
    page.page.fill("#pp1-prompt textarea", WHITE[0])
    page.page.click("#pp1-add")
    page.page.fill("#pp1-rows input[type=text]", WHITE[1])
    page.page.fill("#pp1-rows .row:nth-child(2) input[type=range]", "50")
    page.page.fill("#pp1-steps", str(STEPS))
    page.page.click("#pp1-apply")


@IN_BOTH
@pytest.mark.slow
def test_a_blend_with_a_transition_changes_the_video(program, browser, record_property):
    before = len(blends(program))
    page = visit(browser, f"http://127.0.0.1:{program.port}/")
    page.wait_playing()
    page.wait_colour(f"r < {BLACK_AT_MOST}")
    record_property("before", page.mean_colour())
    ask_blend(page)
    page.wait_colour(f"r > {WHITE_AT_LEAST}")
    record_property("after", page.mean_colour())
    page.page.wait_for_selector('#pp1-receipt [data-step="visible"].done')
    assert all(text in page.page.inner_text("#pp1-caption span") for text in WHITE)
    page.page.locator("#pp1-history .chips button").nth(1).click()
    page.wait_colour(f"r < {BLACK_AT_MOST}")
    assert page.page.inner_text("#pp1-mix summary span") == ""
    added = blends(program)[before:]
    assert [(entry["transition"]["steps"], entry["prompts"][1]["weight"]) for entry in added] == [(STEPS, 0.5)]
    assert page.complaints == []
    page.page.context.close()
