"""A browser for all of them, a site for each file of tests, and a page that plays for each test."""

import contextlib
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from .browser import Visit, chromium, visit
from .site import Site


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """For no longer: while it is there no test could run an event loop of its own."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with contextlib.closing(Site()) as site:
        yield site


@pytest.fixture
def page(site, browser) -> Iterator[Visit]:
    opened = visit(browser, site.url)
    opened.wait_status("Live")
    yield opened
    opened.page.context.close()
