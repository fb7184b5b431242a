"""A browser for all of them, a site for each file of tests, and a page that plays for each test."""

import contextlib
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.ui.browser import Visit, chromium, new_context, open_page
from tests.ui.page_server import PageServer


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """For no longer: while it is there no test could run an event loop of its own."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def site() -> Iterator[PageServer]:
    with contextlib.closing(PageServer()) as site:
        yield site


@pytest.fixture(scope="module")
def context(browser) -> Iterator[BrowserContext]:
    """Keeps the page's files and what was compiled of them; what a tab stores is its own."""
    with new_context(browser) as context:
        yield context


@pytest.fixture
def page(site, context) -> Iterator[Visit]:
    opened = open_page(context, site.url)
    opened.wait_status("Live")
    yield opened
    opened.page.close()
