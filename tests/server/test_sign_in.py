"""How a browser signs in: a small page, a form, a cookie, and no token in an address."""

import pytest
from starlette.testclient import TestClient

from pp1_orchestrator.server.server_settings import Rate
from tests.server.conftest import LIMITS, build
from tests.server.test_auth import HOME, TOKEN

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
VIEW = "may only look at it"
OWN = {"Origin": HOME}


def browse(**options) -> TestClient:
    app = build(host="0.0.0.0", token=TOKEN, view_token=VIEW, **options).app
    return TestClient(app, base_url=HOME, raise_server_exceptions=False, follow_redirects=False)


def test_a_browser_gets_a_page_and_a_program_gets_json():
    client = browse()
    page = client.get("/", headers=BROWSER)
    assert (page.status_code, page.headers["content-type"]) == (401, "text/html; charset=utf-8")
    assert 'action="/sign-in"' in page.text
    assert page.headers["cache-control"] == "no-store"
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for headers in ({}, {"Accept": "application/json"}, {"Accept": "*/*"}):
        assert client.get("/", headers=headers).json()["error"].startswith("a token is needed")
    assert client.post("/api/prompt", headers=BROWSER).json()["error"].startswith("a token is needed")


@pytest.mark.parametrize(("token", "may"), [(TOKEN, 422), (VIEW, 403)])
def test_the_form_signs_in(token, may):
    client = browse()
    welcome = client.post("/sign-in", data={"token": token, "next": "/watch?fit=cover"}, headers=OWN)
    assert (welcome.status_code, welcome.headers["location"]) == (303, "/watch?fit=cover")
    assert token not in str(welcome.headers)
    assert client.get("/api/state").status_code == 200
    assert client.post("/api/prompt", json={}).status_code == may


def test_a_wrong_token_is_asked_for_again_and_counted():
    client = browse(limits=LIMITS.__class__(guesses=Rate(0.001, 3)))
    for _ in range(3):
        again = client.post("/sign-in", data={"token": "wrong", "next": "/"}, headers=OWN)
        assert (again.status_code, "Try again" in again.text) == (401, True)
    assert client.post("/sign-in", data={"token": TOKEN}, headers=OWN).status_code == 429
    assert client.get("/api/state", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 429


@pytest.mark.parametrize(
    "where", ["//evil.example/", "https://evil.example", "/\\evil.example", "/api/state", "", "\r\nX: y"]
)
def test_it_leads_to_a_page_of_this_server_only(where):
    welcome = browse().post("/sign-in", data={"token": TOKEN, "next": where}, headers=OWN)
    assert welcome.headers["location"] == "/"


def test_another_origin_can_not_sign_a_browser_in():
    assert (
        browse().post("/sign-in", data={"token": TOKEN}, headers={"Origin": "http://evil.example"}).status_code == 403
    )


def test_what_an_address_says_is_not_markup():
    page = browse().get('/?a="><script>', headers=BROWSER)
    assert "<script>" not in page.text


def test_no_token_stays_in_an_address():
    client = browse()
    for _ in range(2):  # also when the browser is signed in already
        answer = client.get("/", params={"token": TOKEN, "theme": "dark"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/?theme=dark")
    assert client.get("/watch", params={"token": VIEW, "fit": "cover"}).headers["location"] == "/watch?fit=cover"
    assert client.post("/api/prompt", json={}).status_code == 422  # a link to watch takes nothing away


def test_without_a_token_there_is_nothing_to_sign_in_to():
    client = TestClient(build().app, base_url=HOME)
    assert client.post("/sign-in", data={"token": "x"}).status_code == 404
