"""Two pages, one stream: one has control, the other sees that, asks for it, and gets it."""

import contextlib

import httpx
import pytest

from pp1_orchestrator.server.server_settings import Limits
from tests.timing import scaled
from tests.ui.browser import IN_BOTH, visit
from tests.ui.page_server import BLUE, GREEN, RED, PageServer, ask

HOLDER, BUTTON = "#pp1-holder", "#pp1-lease"
LEASE_S = 6.0
"""Twice the interval at which a page renews its lease, on an idle machine."""


@pytest.fixture(scope="module")
def site():
    with contextlib.closing(PageServer(Limits(lease_s=min(60.0, scaled(LEASE_S))))) as site:
        yield site


@pytest.fixture
def other(site, browser):
    opened = visit(browser, site.url)
    opened.wait_status("Live")
    yield opened
    opened.page.context.close()


@pytest.fixture(autouse=True)
def nobody_keeps_it(page, site):
    yield

    def released() -> bool:
        if page.page.inner_text(BUTTON) in ("Release", "Cancel"):  # a page that was reloaded knows a moment later
            page.page.click(BUTTON)
        return httpx.get(f"{site.url}api/lease", timeout=120).json()["holder"] is None

    site.until(released)


def says(visit, text, button):
    visit.page.wait_for_function(
        "([text, button]) => document.querySelector('#pp1-holder')?.textContent === text "
        "&& document.querySelector('#pp1-lease')?.textContent === button",
        arg=[text, button],
    )


def holds(visit) -> None:
    visit.page.wait_for_function("document.querySelector('#pp1-holder')?.textContent.startsWith('You have control')")
    assert visit.page.inner_text(BUTTON) == "Release"


def locked(visit) -> bool:
    return visit.page.get_attribute("#pp1-apply", "aria-disabled") == "true"


def test_control_is_taken_asked_for_and_handed_over(page, other, site):
    says(page, "", "Take control")
    page.page.click(BUTTON)
    holds(page)
    other.page.wait_for_selector("body.pp1-locked")
    name = other.page.inner_text(HOLDER).removesuffix(" has control")
    says(other, f"{name} has control", "Ask for control")
    assert (locked(page), locked(other)) == (False, True)
    assert other.page.evaluate("getComputedStyle(document.querySelector('#pp1-apply')).pointerEvents") == "none"
    ask(page, "a red circle")
    other.wait_colour(RED)
    ask(other, "a green circle")
    other.page.wait_for_function(f"document.querySelector('#pp1-error').textContent.startsWith('{name} has control')")
    other.page.click(BUTTON)
    says(other, f"Asked {name} for control", "Cancel")
    page.page.wait_for_selector("#pp1-control[data-state=asked]")
    assert page.page.inner_text(BUTTON) == "Hand over"
    page.page.click(BUTTON)
    holds(other)
    page.page.wait_for_selector("body.pp1-locked")
    ask(other, "a blue circle")
    page.wait_colour(BLUE)
    other.page.click(BUTTON)
    says(page, "", "Take control")
    ask(page, "a green circle")
    other.wait_colour(GREEN)


@IN_BOTH
def test_a_reloaded_page_keeps_control_and_a_script_gets_the_reason(page, site):
    page.page.click(BUTTON)
    holds(page)
    page.page.reload()
    holds(page)
    refused = httpx.post(f"{site.url}api/prompt", json={"prompt": "a red circle"}, timeout=120)
    assert (refused.status_code, "has control" in refused.json()["error"]) == (409, True)
    ask(page, "a red circle")
    page.wait_colour(RED)
    assert page.complaints == []  # such as a session that the old page could not end


@pytest.mark.slow
def test_a_page_that_is_gone_loses_control(page, other, site):
    """Its lease expires, and the waiting client gets it."""
    other.page.click(BUTTON)
    holds(other)
    page.page.wait_for_selector("body.pp1-locked")
    page.page.click(BUTTON)
    page.page.wait_for_function("document.querySelector('#pp1-lease').textContent === 'Cancel'")
    other.page.goto("about:blank")
    holds(page)


def test_a_person_has_a_name_and_sees_who_he_is(page, other, site):
    page.page.click("#pp1-who")
    page.page.fill("#pp1-name", "<b>Ann</b>\u202e")
    page.page.press("#pp1-name", "Enter")
    assert page.page.inner_text("#pp1-who") == "<b>Ann</b>\u202e"
    page.page.click(BUTTON)
    says(page, "You have control, <b>Ann</b>", "Release")
    says(other, "<b>Ann</b> has control", "Ask for control")
    page.page.click("#pp1-who")
    page.page.fill("#pp1-name", "Bo " + "x" * 100)
    page.page.press("#pp1-name", "Enter")
    says(other, "Bo " + "x" * 37 + " has control", "Ask for control")
    page.page.reload()
    page.page.wait_for_function("document.querySelector('#pp1-who')?.textContent.startsWith('Bo ')")
