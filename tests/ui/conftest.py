"""The same browsers for all tests, a site for each test file, and a playing page for each test."""

import contextlib
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext

from pp1_orchestrator.types import PromptUpdate
from tests.ui.browser import Browsers, Visit, browsers, launch_without_udp, new_context, open_page
from tests.ui.page_server import PageServer


@pytest.fixture(scope="package")
def all_browsers() -> Iterator[Browsers]:
    """Closed here, because no test can run its own event loop while one is open."""
    with browsers() as opened:
        yield opened


@pytest.fixture(scope="package")
def browser(all_browsers, request) -> Browser:
    """Chromium, or the one that `IN_BOTH` asks for."""
    return all_browsers.get(getattr(request, "param", "chromium"))


@pytest.fixture(scope="module")
def site() -> Iterator[PageServer]:
    with contextlib.closing(PageServer()) as site:
        yield site


@pytest.fixture(scope="module")
def context(browser) -> Iterator[BrowserContext]:
    """Keeps the page's files and compiled scripts in its cache; each tab has its own storage."""
    with new_context(browser) as context:
        yield context


@pytest.fixture(scope="module")
def blocked_browser(browser) -> Iterator[Browser]:
    blocked = launch_without_udp(browser.browser_type)
    yield blocked
    blocked.close()


@pytest.fixture
def blocked(blocked_browser) -> Iterator[BrowserContext]:
    """Where no UDP passes."""
    with new_context(blocked_browser) as context:
        yield context


@pytest.fixture
def page(site, context) -> Iterator[Visit]:
    site.stream.update_prompt(PromptUpdate("start"))  # the form of a blend would be open
    opened = open_page(context, site.url)
    opened.wait_status("Live")
    yield opened
    opened.page.close()
