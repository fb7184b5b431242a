"""The seed: Reset goes back to the run's, a dice draws one, undo covers both, and a refused one does not stay."""

import pytest

from pp1_orchestrator.types import Control
from tests.ui.browser import Visit
from tests.ui.page_server import RED, PageServer, ask
from tests.ui.painted_stream import SEED
from tests.ui.test_history import wait_newest

FIELD, ERROR = "#pp1-seed input", "#pp1-seed-error"


@pytest.fixture(autouse=True)
def as_at_the_start(site):
    site.stream.seed = SEED


def seeds(site: PageServer) -> list[int | None]:
    return [command.value for command in site.stream.commands if command.action == "seed"]


def set_seed(page: Visit, text: str) -> None:
    page.page.fill(FIELD, text)
    page.page.click("#pp1-set-seed")


def wait_field(page: Visit, text: str) -> None:
    page.page.wait_for_function(f"text => document.querySelector('{FIELD}').value === text", arg=text)


def leave_field(page: Visit) -> None:
    page.page.evaluate("document.activeElement.blur()")


def test_reset_restores_the_seed_of_the_run(page, site):
    wait_field(page, str(SEED))
    site.stream.commands.clear()
    set_seed(page, "7")
    page.page.click("#pp1-reset")
    site.until(lambda: site.stream.commands == [Control("seed", 7), Control("seed", SEED)])
    wait_field(page, str(SEED))


def test_the_dice_draws_a_seed_and_undo_brings_the_others_back(page, site):
    wait_field(page, str(SEED))
    ask(page, "a red circle")
    wait_newest(page, "a red circle")
    page.wait_colour(RED)
    site.stream.commands.clear()
    set_seed(page, "7")
    wait_field(page, "7")
    page.page.click("#pp1-dice")
    site.until(lambda: len(seeds(site)) == 2)
    drawn = seeds(site)[1]
    assert drawn is not None
    assert 0 <= drawn < 2**31
    leave_field(page)
    before = len(site.stream.updates)
    for expected in (7, SEED):
        page.page.keyboard.press("z")
        site.until(lambda expected=expected: seeds(site)[-1] == expected)
        wait_field(page, str(expected))
    page.page.keyboard.press("Shift+z")
    wait_field(page, "7")
    assert seeds(site) == [7, drawn, 7, SEED, 7]
    assert len(site.stream.updates) == before, "the prompt is as it was"


def test_a_refused_seed_is_named_at_its_field_which_shows_the_streams(page, site):
    wait_field(page, str(SEED))
    site.stream.commands.clear()
    for text, said in [
        ("1.5", "“1.5” is no seed: a whole number from 0 is needed."),
        ("", "That is no seed: a whole number from 0 is needed."),
        ("99999999999999999999", "“99999999999999999999” is too large for a seed."),
        ("2147483648", "value is 2147483648; a seed is a whole number from 0 to 2147483647"),
    ]:
        set_seed(page, text)
        page.page.wait_for_function(f"said => document.querySelector('{ERROR}').textContent === said", arg=said)
        wait_field(page, str(SEED))
    assert seeds(site) == []
    field, error = page.page.locator("#pp1-controls").bounding_box(), page.page.locator(ERROR).bounding_box()
    assert field is not None
    assert error is not None
    assert 0 <= error["y"] - (field["y"] + field["height"]) < 24, "right below it"
    set_seed(page, "8")
    page.page.wait_for_selector(ERROR, state="hidden")


def test_a_seed_that_is_typed_and_not_set_is_marked(page):
    wait_field(page, str(SEED))
    page.page.fill(FIELD, "123")
    assert page.page.locator("#pp1-seed.typed").count() == 1
    page.page.click("#pp1-set-seed")
    page.page.wait_for_selector("#pp1-seed.typed", state="detached")
