"""Prompts with weights, transitions and cuts: the form sends what it shows, and the video shows what was sent."""

import pytest

from pp1_orchestrator.types import PromptUpdate, Transition, WeightedPrompt
from tests.ui.browser import Visit
from tests.ui.page_server import BLUE, GREEN, RED, PageServer, ask

SLIDER = "#pp1-rows .row:nth-child({}) input[type=range]"
TEXT = "#pp1-rows .row:nth-child({}) input[type=text]"


def open_form(page: Visit) -> None:
    page.page.click("#pp1-mix summary")


def add(page: Visit, number: int, prompt: str, weight: int) -> None:
    page.page.click("#pp1-add")
    page.page.fill(TEXT.format(number), prompt)
    page.page.fill(SLIDER.format(number), str(weight))


def sent(site: PageServer, count: int) -> PromptUpdate:
    """The newest update, as soon as there are `count`."""
    site.until(lambda: len(site.stream.updates) == count)
    return site.stream.updates[-1]


def test_a_blend_with_a_transition_is_one_update_and_the_heaviest_prompt_is_seen(page, site):
    before = len(site.stream.updates)
    open_form(page)
    page.page.fill("#pp1-prompt textarea", "a red circle")
    add(page, 2, "a blue circle", 75)
    page.page.fill(SLIDER.format(1), "25")
    page.page.select_option("#pp1-blend", "slerp")
    page.page.fill("#pp1-steps", "8")
    page.page.select_option("#pp1-method", "slerp")
    page.page.click("#pp1-mix .segments label:has-text('recache')")
    assert page.page.inner_text("#pp1-rows .row:nth-child(2) output") == "75 %"
    assert page.page.inner_text("#pp1-mix summary span") == "2 prompts · over 8 chunks · slerp · recache"
    page.page.click("#pp1-apply")
    page.wait_colour(BLUE)
    prompts = (WeightedPrompt("a red circle", 0.25), WeightedPrompt("a blue circle", 0.75))
    wanted = PromptUpdate(prompts=prompts, blend="slerp", transition=Transition(8, "slerp"), cut="recache")
    assert sent(site, before + 1) == wanted
    page.page.wait_for_selector('#pp1-receipt [data-step="visible"].done')
    assert page.page.inner_text("#pp1-caption span") == "0.25 × a red circle + 0.75 × a blue circle"
    assert page.complaints == []


def test_a_prompt_that_is_added_weighs_as_much_as_the_one_above(page, site):
    site.stream.update_prompt(PromptUpdate("a red circle"))
    page.page.reload()
    page.page.wait_for_function("document.querySelector('#pp1-prompt textarea')?.value === 'a red circle'")
    open_form(page)
    page.page.click("#pp1-add")
    assert [page.page.input_value(SLIDER.format(row)) for row in (1, 2)] == ["50", "50"]
    assert page.page.inner_text("#pp1-rows .row:nth-child(2) output") == "50 %"


def test_a_slider_sets_the_weight(page, site):
    open_form(page)
    page.page.fill("#pp1-prompt textarea", "a red circle")
    add(page, 2, "a green circle", 90)
    page.page.fill(SLIDER.format(1), "10")
    page.page.press(TEXT.format(2), "Enter")
    page.wait_colour(GREEN)
    page.page.fill(SLIDER.format(1), "100")
    page.page.press(SLIDER.format(1), "Control+Enter")
    page.wait_colour(RED)


@pytest.mark.parametrize("key", ["Enter", "Control+Enter"])
def test_a_closed_form_sends_a_plain_prompt(page, site, key):
    before = len(site.stream.updates)
    ask(page, "a green star", key)
    assert sent(site, before + 1) == PromptUpdate("a green star")
    assert page.page.locator("#pp1-add").is_hidden()


def test_slerp_is_offered_for_two_prompts_only(page):
    open_form(page)

    def offered() -> bool:
        return page.page.eval_on_selector("#pp1-blend option[value=slerp]", "option => !option.disabled")

    assert not offered()
    add(page, 2, "two", 50)
    assert offered()
    page.page.select_option("#pp1-blend", "slerp")
    add(page, 3, "three", 50)
    assert not offered()
    assert page.page.input_value("#pp1-blend") == "linear"


def test_rows_are_removed_and_no_more_than_eight_are_added(page):
    open_form(page)
    for number in range(2, 9):
        add(page, number, f"prompt {number}", 50)
    assert page.page.locator("#pp1-add").is_disabled()
    page.page.get_by_label("Remove prompt 3").click()
    assert page.page.locator("#pp1-add").is_enabled()
    assert page.page.input_value(TEXT.format(3)) == "prompt 4"
    assert page.page.get_by_label("Weight of prompt 7").get_attribute("aria-valuetext") == "14 %"
    page.page.click("#pp1-plain")
    assert page.page.locator("#pp1-rows .row").count() == 1
    assert page.page.inner_text("#pp1-mix summary span") == ""


def test_an_invalid_form_shows_the_error(page, site):
    before = len(site.stream.updates)
    open_form(page)
    page.page.fill("#pp1-prompt textarea", "a red circle")
    page.page.click("#pp1-add")
    page.page.click("#pp1-apply")
    page.page.wait_for_selector("#pp1-error:visible")
    assert page.page.inner_text("#pp1-error") == "Prompt 2 is empty: fill it in or remove it."
    page.page.get_by_label("Remove prompt 2").click()
    page.page.fill("#pp1-steps", "1001")
    page.page.click("#pp1-apply")
    page.page.wait_for_function("document.querySelector('#pp1-error').textContent.startsWith('A transition has 0 to')")
    assert len(site.stream.updates) == before
