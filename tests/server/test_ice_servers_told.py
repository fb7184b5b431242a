"""Clients are told of ICE servers with WHEP's answer, and before their offer; only those that may watch."""

import pytest
from starlette.testclient import TestClient

from pp1_orchestrator.media.ice_servers import IceServer
from tests.server.conftest import build
from tests.server.test_auth import HOME, TOKEN

VIEW, CREDENTIAL = "for eyes", "a relay's credential"
SERVERS = (IceServer(("stun:a.example",)), IceServer(("turn:b.example", "turns:b.example"), "me", CREDENTIAL))
LINKS = [link for server in SERVERS for link in server.links()]
OFFER = {"Content-Type": "application/sdp"}


def browse(**options) -> TestClient:
    return TestClient(build(**options).app, base_url=HOME)


def test_they_come_with_the_answer_and_with_options():
    client = browse(ice_servers=SERVERS)
    told = client.options("/whep")
    assert (told.status_code, told.content) == (204, b"")
    assert told.headers.get_list("link") == LINKS
    assert (told.headers["allow"], told.headers["accept-post"]) == ("OPTIONS, POST", "application/sdp")
    answer = client.post("/whep", content="v=0", headers=OFFER)
    assert answer.status_code == 201
    assert answer.headers.get_list("link") == LINKS


def test_there_are_none_by_default():
    client = browse()
    assert client.options("/whep").status_code == 204
    assert "link" not in client.options("/whep").headers
    assert "link" not in client.post("/whep", content="v=0", headers=OFFER).headers


@pytest.mark.parametrize(("token", "status"), [(None, 401), ("wrong", 401), (VIEW, 204), (TOKEN, 204)])
def test_only_those_who_may_watch_are_told(token, status):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    told = browse(token=TOKEN, view_token=VIEW, ice_servers=SERVERS).options("/whep", headers=headers)
    assert told.status_code == status
    assert told.headers.get_list("link") == (LINKS if status == 204 else [])


@pytest.mark.parametrize(
    "path", ["/api/state", "/api/share?page=http://127.0.0.1:7860/", "/metrics", "/api/openapi.json"]
)
def test_no_other_route_tells(path):
    answer = browse(ice_servers=SERVERS).get(path)
    assert answer.status_code == 200
    assert CREDENTIAL not in answer.text + str(answer.headers)
