"""No way of writing a path avoids what hangs on its route, and only a route or a file of the page has an answer."""

import contextlib
import http.client
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest
from fastapi.routing import APIRoute

from pp1_orchestrator.server.rate_limit import MARK
from pp1_orchestrator.server.server_settings import Rate
from pp1_orchestrator.ui import mount_panel
from tests.server.conftest import LIMITS, Listening, build
from tests.server.test_auth import TOKEN, all_routes

ONCE = Rate(0.001, 1)
VIEW = {"Authorization": "Bearer looks"}
SAFE = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing."""
UNLIMITED = {("DELETE", "/whep/{viewer_id}")}
"""Ends a session of the client's own."""
SPELLINGS = [
    "{}%0A", "{}%0D", "{}%0D%0A", "{}%00", "{}%20", "%20{}", "{}/", "{}//", "/{}", "//{}", "/.{}", "/x/..{}", "{}%2F",
    "/%2e{}", "{}%3F", "{};a", "{}%0A%0A", "{}%ff", "http://127.0.0.1:7860{}",
]  # fmt: skip
ASSETS = [
    "a" * 300, "a" * 5000, "a" * 300 + ".js", "%00", "a%00b", "..", "%2e%2e/%2e%2e", "..%2f..%2f..%2fetc%2fpasswd",
    "", "/", "//etc/passwd", "index.js%0A", "C:%5Cwindows", "a/" * 2000, "%F0%9F%98%80" * 100, "nope.js", "%ff%fe",
]  # fmt: skip


def ask(server: Listening, method: str, target: str, body=None, headers=None) -> tuple[int, bytes]:
    """The target is sent as it is: other clients tidy it up."""
    headers = {"Content-Type": "application/json"} | (headers or {})
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)) as connection:
        connection.request(method, target, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


@contextlib.contextmanager
def listening(**options) -> Iterator[SimpleNamespace]:
    parts = build(**options)
    parts.server = Listening(parts.app)
    try:
        yield parts
    finally:
        assert parts.server.stop()


@pytest.fixture(scope="module")
def limited():
    """Takes one prompt and one command."""
    with listening(limits=replace(LIMITS, prompt_updates=ONCE, changes=ONCE)) as parts:
        assert ask(parts.server, "POST", "/api/prompt", {"prompt": "a"})[0] == 200
        assert ask(parts.server, "POST", "/api/control", {"action": "pause"})[0] == 200
        yield parts


@pytest.fixture(scope="module")
def guarded():
    with listening(token=TOKEN, view_token="looks") as parts:
        yield parts


@pytest.fixture(scope="module")
def page():
    with listening(mount_panel=mount_panel) as parts:
        yield parts


@pytest.mark.parametrize("spelling", ["{}", *SPELLINGS])
@pytest.mark.parametrize(("path", "body"), [("/api/prompt", {"prompt": "a"}), ("/api/control", {"action": "pause"})])
def test_no_spelling_passes_a_rate(limited, spelling, path, body):
    assert ask(limited.server, "POST", spelling.format(path), body)[0] in (400, 404, 429)
    assert len(limited.stream.updates) + len(limited.stream.commands) == 2


@pytest.mark.parametrize(
    "method", ["POST", "post", "Post", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "BREW"]
)
@pytest.mark.parametrize(
    "path", ["/api/prompt", "/API/PROMPT", "/Api/Prompt", "/api//prompt", "/gradio_api/api/prompt"]
)
def test_no_method_and_no_case_passes_a_rate(limited, method, path):
    assert ask(limited.server, method, path, {"prompt": "a"})[0] in (400, 404, 405, 429)
    assert len(limited.stream.updates) == 1


def test_every_change_has_a_rate(page):
    """A new route can't be forgotten: the mark hangs on the function that answers."""
    routers = [route.original_router for route in page.app.routes if hasattr(route, "original_router")]
    routes = {
        (m, r.path): r for router in routers for r in router.routes if isinstance(r, APIRoute) for m in r.methods or ()
    }
    changes = {key for key in routes if key[0] not in SAFE}
    assert {key for key in changes if MARK not in vars(routes[key].endpoint)} == UNLIMITED
    assert {(m, p.replace("{viewer_id}", "v0")) for m, p in changes} == {r for r in all_routes() if r[0] not in SAFE}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("path", ["/healthz", "/whep", "/whep/v0", "/api/prompt", "/api/state", "/assets/index.js"])
def test_no_spelling_needs_no_token(guarded, spelling, path):
    target = spelling.format(path)
    assert ask(guarded.server, "GET", target)[0] in (400, 401)
    assert ask(guarded.server, "POST", target, {"prompt": "a"})[0] in (400, 401)
    assert ask(guarded.server, "POST", target, {"prompt": "a"}, VIEW)[0] in (400, 403, 404, 405)
    assert guarded.stream.updates == []


@pytest.mark.parametrize("folder", ["/assets/", "/static/"])
@pytest.mark.parametrize("name", ASSETS)
def test_an_unknown_asset_is_one_clean_line(page, caplog, folder, name):
    with caplog.at_level(logging.WARNING):
        status, body = ask(page.server, "GET", folder + name)
    assert status == 404
    assert set(json.loads(body)) == {"error"}
    assert len(body) < 500
    assert not caplog.records


def test_assets_of_the_page_are_there(page):
    text = ask(page.server, "GET", "/")[1].decode()
    names = {part.split('"')[0] for part in text.split('"./')[1:] if part.startswith("assets/")}
    assert names
    for name in sorted(names)[:5]:
        assert ask(page.server, "GET", f"/{name}")[0] == 200
