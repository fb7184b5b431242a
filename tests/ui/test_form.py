"""Loading without applying, a reload, transitions in seconds, and words that the model does not know."""

import pytest

from pp1_orchestrator.types import PromptUpdate, Transition
from tests.ui.browser import Visit
from tests.ui.page_server import PageServer, ask
from tests.ui.painted_stream import FPS, FRAMES, GUIDE, READ_CHARS
from tests.ui.test_history import CHIPS, wait_newest

PROMPT = "#pp1-prompt textarea"
EXAMPLE = "#pp1-examples .chips button >> nth=1"
CHUNK_S = FRAMES / FPS


def wait_prompt(page: Visit, text: str) -> None:
    page.page.wait_for_function(f"text => document.querySelector('{PROMPT}')?.value === text", arg=text)


def sends_nothing_before(site: PageServer, before: int, page: Visit) -> None:
    """What the page would have sent has come before the pause, which is on the same connection."""
    page.page.click("#pp1-pause")
    page.wait_status("Paused")
    page.page.click("#pp1-pause")
    page.wait_status("Live")
    assert len(site.stream.updates) == before


@pytest.mark.parametrize("how", [{"modifiers": ["Shift"]}, {"modifiers": ["Control"]}, {"button": "right"}])
def test_a_chip_is_loaded_without_being_applied(page, site, how):
    before = len(site.stream.updates)
    text = page.page.locator(EXAMPLE).inner_text()
    page.page.click(EXAMPLE, **how)
    wait_prompt(page, text)
    sends_nothing_before(site, before, page)
    page.page.press(PROMPT, "Enter")
    site.until(lambda: site.stream.updates[before:] == [PromptUpdate(text)])


def test_an_entry_of_the_history_is_loaded_from_the_keyboard(page, site):
    for prompt in ("a red star", "a blue star"):
        ask(page, prompt)
        wait_newest(page, prompt)
    before = len(site.stream.updates)
    page.page.locator(CHIPS).nth(1).press("Shift+Enter")
    wait_prompt(page, "a red star")
    sends_nothing_before(site, before, page)


def test_a_reload_keeps_what_is_half_typed(page, site):
    page.page.click(PROMPT)
    page.page.keyboard.press("Control+a")
    page.page.keyboard.type("a red cir")
    page.page.click("#pp1-mix summary")
    page.page.fill("#pp1-steps", "4")
    page.page.reload()
    wait_prompt(page, "a red cir")
    assert page.page.input_value("#pp1-steps") == "4"
    assert page.page.is_visible("#pp1-steps")
    page.page.press(PROMPT, "Enter")
    wait_newest(page, "a red cir")
    site.stream.update_prompt(PromptUpdate("a blue star"))
    page.page.reload()
    wait_prompt(page, "a blue star")


def test_a_transition_is_typed_in_seconds_and_sent_in_chunks(page, site):
    page.page.click("#pp1-mix summary")
    page.page.fill(PROMPT, "a red star")
    page.page.select_option("#pp1-unit", "seconds")
    page.page.fill("#pp1-steps", "3")
    assert page.page.inner_text("#pp1-steps-means") == "= 8 chunks"
    before = len(site.stream.updates)
    page.page.click("#pp1-apply")
    site.until(lambda: len(site.stream.updates) > before)
    assert site.stream.updates[-1].transition == Transition(round(3 / CHUNK_S))
    page.page.select_option("#pp1-unit", "chunks")
    assert page.page.input_value("#pp1-steps") == "8"
    assert page.page.inner_text("#pp1-steps-means") == "= 3.0 s"


def test_the_page_says_what_the_model_understands_and_what_is_new_to_it(page):
    page.page.click("#pp1-guide summary")
    assert page.page.inner_text("#pp1-guide p") == GUIDE.summary
    page.page.fill(PROMPT, "A Cyberpunk city on a red star, neon: \U0001f600 \u0642\u0637\u0629 rain fog")
    page.page.wait_for_selector("#pp1-hint:visible")
    said = "New to this model: cyberpunk, city, neon, \u0642\u0637\u0629, rain and 1 more. It may show something else."
    assert page.page.inner_text("#pp1-hint") == said
    page.page.fill(PROMPT, "a RED star, a blue circle")
    page.page.wait_for_selector("#pp1-hint", state="hidden")


def test_too_long_is_said_in_characters_that_people_see(page):
    """A family of three is one character to see, and five of Unicode's."""
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    ask(page, family * 20)
    receipt = "document.querySelector('#pp1-receipt [data-step=accepted] span').textContent"
    page.page.wait_for_function(f"{receipt}.endsWith(' · long: its first {READ_CHARS // 5} characters count')")


def test_one_latency_is_shown_and_none_before_anybody_asked(page):
    figure = '[data-figure="latency"]'
    page.wait_playing()
    assert page.page.inner_text(figure) == "–"
    ask(page, "a red star")
    page.page.wait_for_selector('#pp1-receipt [data-step="visible"].done')
    assert page.receipt("visible").split(" · ")[0] == page.page.inner_text(figure) == "123 ms"
    assert page.page.inner_text("#pp1-slowest") == "up to 123 ms"
    assert "68 ms" not in page.page.inner_text("body")
