"""The tests of the page again, behind a real nginx with TLS, below a path."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.nginx import COMMON, SUB_PATH, nginx
from tests.ui.page_server import PageServer
from tests.ui.test_panel import *  # noqa: F403 - the tests themselves

pytestmark = pytest.mark.slow
SITE = "location = /favicon.ico { return 204; }"
"""Browsers ask the root of the origin for an icon before they have read the page."""


@pytest.fixture(scope="module")
def site() -> Iterator[PageServer]:
    with contextlib.ExitStack() as opened:
        site = opened.enter_context(contextlib.closing(PageServer()))
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        origin = opened.enter_context(nginx(folder, site.port, COMMON, SUB_PATH, SITE))
        patch = opened.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("SSL_CERT_FILE", str(folder / "pair.pem"))  # for requests of the tests themselves
        site.url = f"{origin}/pp1/"
        yield site
