"""The view token permits reading everything and changing nothing, on every route."""

import pytest
from starlette.testclient import TestClient

from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.server.auth import COOKIE, ONLY_WATCH, SAFE_METHODS
from pp1_orchestrator.server.server_settings import ServerSettings
from tests.server.conftest import build
from tests.server.test_auth import HOME, TOKEN, all_routes

VIEW = "may only look at it"
VIEWER = {"Authorization": f"Bearer {VIEW}"}
PLACE = {("POST", "/whep"), ("DELETE", "/whep/v0")}
WATCHING = [route for route in all_routes() if route[0] in SAFE_METHODS or route in PLACE]
CHANGING = [route for route in all_routes() if route not in WATCHING]


def parts():
    return build(host="0.0.0.0", token=TOKEN, view_token=VIEW)


def browse(made, **options) -> TestClient:
    return TestClient(made.app, base_url=HOME, raise_server_exceptions=False, follow_redirects=False, **options)


def test_the_table_has_both_sides():
    assert ("POST", "/api/prompt") in CHANGING
    assert ("GET", "/api/state") in WATCHING
    assert {path for _, path in CHANGING} >= {"/api/control", "/api/timeline", "/api/clips", "/api/lease"}


@pytest.mark.parametrize(("method", "path"), CHANGING)
@pytest.mark.parametrize("way", ["header", "cookie"])
def test_nothing_can_be_changed(method, path, way):
    made = parts()
    client = browse(made, headers=VIEWER if way == "header" else {})
    if way == "cookie":
        client.get("/", params={"token": VIEW})
    bodies = ({"prompt": "mine"}, {"action": "pause"}, {"action": "take"}, {"entries": []}, {"action": "start"}, {})
    for body in bodies:
        answer = client.request(method, path, json=body)
        assert (answer.status_code, answer.json()) == (403, {"error": ONLY_WATCH})
    assert (made.stream.updates, made.stream.commands, made.clips.clips()) == ([], [], [])


@pytest.mark.parametrize(("method", "path"), [route for route in WATCHING if route[1] != "/api/events"])
def test_everything_can_be_seen(method, path):
    sdp = {"content": "v=0", "headers": {"Content-Type": "application/sdp"}} if method == "POST" else {}
    client = browse(parts(), headers=VIEWER)
    status = client.request(method, path, **sdp).status_code
    assert status in (200, 201, 204, 404, 422)  # there is no clip, no viewer and no page


def test_a_browser_has_a_cookie_of_its_own():
    made = parts()
    cookies = []
    for token in (TOKEN, VIEW):
        client = browse(made)
        assert client.get("/", params={"token": token}).status_code == 303
        cookies.append(client.cookies[COOKIE])
        assert client.get("/api/state").status_code == 200
        assert client.post("/api/control", json={"action": "pause"}).status_code == (200 if token == TOKEN else 403)
    assert len({TOKEN, VIEW, *cookies}) == 4


@pytest.mark.parametrize("token", [None, "", VIEW])
def test_a_token_for_watching_needs_another_one_for_everything(token):
    with pytest.raises(ConfigError) as refused:
        ServerSettings(token=token, view_token=VIEW)
    assert str(refused.value) == (
        "serving.view_token: without another serving.token everybody could change the stream; set both, and not to the "
        "same"
    )
