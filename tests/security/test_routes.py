"""Every route of the server, including the page's and Gradio's, is closed without a token."""

import re

import pytest
from starlette.routing import BaseRoute, Mount, Route
from starlette.testclient import TestClient

from pp1_orchestrator.server.auth import HEALTH_PATHS, OPEN_PATHS
from pp1_orchestrator.ui import mount_panel
from tests.server.conftest import build
from tests.server.test_auth import BEARER, HOME, TOKEN

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
BEYOND = ("/docs", "/openapi.json", "/gradio_api/upload", "/gradio_api/file=/etc/passwd", "/.env", "//", "/healthz/")


def paths(routes: list[BaseRoute], prefix: str = "") -> set[str]:
    """The path of every route, including those of mounted applications and included routers."""
    found: set[str] = set()
    for route in routes:
        inner = getattr(route, "original_router", None) or getattr(route, "router", None)
        if isinstance(route, Route):
            found.add(prefix + re.sub(r"{[^}]*}", "x", route.path))
        elif isinstance(route, Mount):
            found |= paths(route.routes, prefix + route.path.rstrip("/"))
        elif inner is not None:
            found |= paths(inner.routes, prefix)
    return found


@pytest.fixture(scope="module")
def app():
    return build(mount_panel=mount_panel, host="0.0.0.0", token=TOKEN).app


@pytest.fixture(scope="module")
def client(app) -> TestClient:
    return TestClient(app, base_url=HOME, raise_server_exceptions=False, follow_redirects=False)


def test_the_walk_finds_the_interface_and_the_page(app):
    found = paths(app.routes)
    assert {"/whep", "/whep/x", "/api/state", "/metrics", "/healthz", "/readyz"} <= found
    assert len(found) > 40  # most of them the page's framework's


def test_without_a_token_nothing_but_health_answers(app, client):
    for path in sorted(paths(app.routes) - OPEN_PATHS) + list(BEYOND):
        for method in METHODS:
            assert client.request(method, path).status_code in (401, 403), (method, path)
    for path in HEALTH_PATHS:
        assert client.get(path).status_code == 200


def test_with_the_token_the_page_is_there_and_the_framework_is_not(client):
    assert client.get("/", headers=BEARER).status_code == 200
    for path in BEYOND[:5]:
        assert client.get(path, headers=BEARER).status_code == 404, path
