"""The history: applied updates are listed, and a click applies one again."""

import pytest

from pp1_orchestrator.types import PromptUpdate, Transition, WeightedPrompt
from tests.ui.browser import Visit
from tests.ui.page_server import BLUE, GREEN, RED, ask

CHIPS = "#pp1-history .chips button"
BLEND = PromptUpdate(
    prompts=(WeightedPrompt("a blue circle", 1.0), WeightedPrompt("a red circle", 0.4)),
    transition=Transition(6, "slerp"),
    cut="hard",
)


def wait_newest(page: Visit, text: str) -> None:
    check = f"text => document.querySelector('{CHIPS}')?.firstChild.textContent === text"
    page.page.wait_for_function(check, arg=text)


def ask_blend(page: Visit) -> None:
    page.page.click("#pp1-mix summary")
    page.page.fill("#pp1-prompt textarea", "a blue circle")
    page.page.click("#pp1-add")
    page.page.fill("#pp1-rows input[type=text]", "a red circle")
    page.page.fill("#pp1-rows .row:nth-child(1) input[type=range]", "100")
    page.page.fill("#pp1-rows .row:nth-child(2) input[type=range]", "40")
    page.page.fill("#pp1-steps", "6")
    page.page.select_option("#pp1-method", "slerp")
    page.page.click("#pp1-mix .segments label:has-text('hard')")
    page.page.click("#pp1-apply")


def test_one_click_brings_a_whole_update_back(page, site):
    ask_blend(page)
    wait_newest(page, "71 % a blue circle + 29 % a red circle")
    page.page.click("#pp1-plain")
    ask(page, "a green circle")
    wait_newest(page, "a green circle")
    page.wait_colour(GREEN)
    chip = page.page.locator(CHIPS).nth(1)
    assert "over 6 chunks · slerp · hard" in chip.inner_text()
    before = len(site.stream.updates)
    chip.click()
    page.wait_colour(BLUE)
    site.until(lambda: len(site.stream.updates) == before + 1)
    assert site.stream.updates[-1] == BLEND
    assert page.page.input_value("#pp1-prompt textarea") == "a blue circle"
    assert page.page.input_value("#pp1-rows input[type=text]") == "a red circle"
    assert page.page.input_value("#pp1-steps") == "6"
    assert page.page.inner_text("#pp1-mix summary span") == "2 prompts · over 6 chunks · slerp · hard"
    wait_newest(page, "71 % a blue circle + 29 % a red circle")
    assert page.page.locator(CHIPS).nth(1).inner_text() == "a green circle"
    assert page.complaints == []


def test_a_new_page_begins_with_what_is_shown(page, site):
    for prompt in ("a blue star", "a red star"):
        site.stream.update_prompt(PromptUpdate(prompt))
    page.page.reload()
    wait_newest(page, "a red star")
    assert page.page.locator(CHIPS).nth(1).inner_text() == "a blue star"
    assert page.page.input_value("#pp1-prompt textarea") == "a red star"
    page.page.wait_for_selector(f"{CHIPS}[aria-current=true]")


def test_a_blend_that_is_shown_is_in_the_history_and_in_the_open_form(page, site):
    site.stream.update_prompt(BLEND)
    page.page.reload()
    wait_newest(page, "71 % a blue circle + 29 % a red circle")
    page.page.wait_for_selector("#pp1-rows input[type=text]:visible")
    assert page.page.input_value("#pp1-prompt textarea") == "a blue circle"
    assert page.page.input_value("#pp1-rows input[type=text]") == "a red circle"
    assert page.page.inner_text("#pp1-rows .row:nth-child(2) output") == "29 %"


def test_a_key_goes_back_to_the_prompt_before(page):
    for prompt, colour in (("a red circle", RED), ("a green circle", GREEN)):
        ask(page, prompt)
        wait_newest(page, prompt)
        page.wait_colour(colour)
    page.page.press("#pp1-prompt textarea", "z")
    assert page.page.input_value("#pp1-prompt textarea") == "a green circlez"
    page.page.keyboard.press("Escape")
    page.page.keyboard.press("z")
    page.wait_colour(RED)
    wait_newest(page, "a red circle")


@pytest.mark.slow
def test_it_has_an_end_and_lists_nothing_twice(page):
    for number in (*range(21), 20, 19):
        ask(page, f"red {number}")
        wait_newest(page, f"red {number}")
    texts = page.page.locator(CHIPS).all_inner_texts()
    assert texts == ["red 19", "red 20", *(f"red {number}" for number in range(18, 0, -1))]
