"""HEAD wherever there is GET: the same status and headers, and no body."""

import re

import httpx
import pytest

from pp1_orchestrator.ui import mount_panel
from tests.server.conftest import Listening, build
from tests.server.test_openapi import document

PATHS = [path for path, operations in document()["paths"].items() if "get" in operations]
PAGE = ["/", "/theme.css", "/favicon.ico"]


@pytest.fixture(scope="module")
def served():
    """With a page, and a clip that can be fetched."""
    parts = build(mount_panel=mount_panel)
    parts.clips.start()
    clip = parts.clips.stop()
    listening = Listening(parts.app)
    yield listening.url, clip.id
    assert listening.stop()


def answer(method: str, url: str) -> tuple[int, dict[str, str]]:
    """Without a body: that of the event stream has no end."""
    with httpx.stream(method, url, timeout=120) as received:
        assert method == "GET" or received.read() == b""
        varies = {"date"} | ({"content-length"} if url.endswith("/metrics") else set())
        return received.status_code, {name: received.headers[name] for name in received.headers.keys() - varies}


@pytest.mark.parametrize("path", [*PATHS, *PAGE])
def test_head_is_get_without_a_body(served, path):
    url, clip = served
    address = url + path.replace("{clip_id}", clip) + ("?page=http://a/" if path == "/api/share" else "")
    head, get = (answer(method, address) for method in ("HEAD", "GET"))
    assert head == get
    assert head[0] < 400 or path == "/readyz"


def test_head_of_the_page_s_files(served):
    url, _ = served
    file = re.search(r"[./]+(/assets/[^\"']+\.js)", httpx.get(url, timeout=120).text)
    assert file is not None
    head, get = (answer(method, url + file[1]) for method in ("HEAD", "GET"))
    assert head == get
    assert head[0] == 200


def test_what_is_not_there_is_not_there_for_head(served):
    url, _ = served
    assert answer("HEAD", f"{url}/api/clips/c99")[0] == 404
    assert answer("HEAD", f"{url}/whep")[0] == 405
