"""What viewers get: a page with the picture alone, a link to it, and pages that other origins may show in frames."""

import pytest
from starlette.testclient import TestClient

from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.server.auth import COOKIE
from pp1_orchestrator.server.server_settings import ServerSettings
from tests.server.conftest import build

TOKEN, VIEW, HOME = "correct horse", "battery & staple", "http://127.0.0.1:7860"
BOTH = {"token": TOKEN, "view_token": VIEW}
NAMED = ("https://example.org", "http://*.example.org:8080")
LINK = "/watch?token=battery%20%26%20staple"


def browse(base_url=HOME, **options) -> TestClient:
    return TestClient(build(**options).app, base_url=base_url, follow_redirects=False)


def share(page: str = f"{HOME}/", **options) -> dict:
    return (
        browse(**options).get("/api/share", params={"page": page}, headers={"Authorization": f"Bearer {TOKEN}"}).json()
    )


@pytest.mark.parametrize(
    ("page", "options", "link", "note"),
    [
        (HOME, {}, "/watch", "this machine only"),
        ("http://localhost:8000", BOTH, LINK, "this machine only"),
        ("http://[::1]:7860", BOTH, LINK, "this machine only"),
        ("http://192.0.2.1:7860", {"token": TOKEN}, "/watch", "set serving.view_token"),
        ("https://stream.example", BOTH, LINK, "change nothing"),
    ],
)
def test_the_link_holds_the_token_for_watching_and_never_the_other(page, options, link, note):
    got = share(f"{page}/", **options)
    assert got["link"] == page + link
    assert note in got["note"]
    assert got["qr"].startswith("data:image/svg+xml")


def test_the_link_is_below_the_page_that_asks():
    assert share("https://example.org/pp1/", **BOTH)["link"] == f"https://example.org/pp1{LINK}"


@pytest.mark.parametrize(
    "page", ["javascript:alert(1)", "/", "", "h" * 501, "http://[", "http://", "http://a]b", "http://a\u2100b"]
)
def test_what_is_no_address_of_a_page_is_refused(page):
    assert browse().get("/api/share", params={"page": page}).status_code == 422


@pytest.mark.parametrize("query", ["", "?fit=cover"])
def test_the_link_opens_the_page_and_keeps_what_else_it_says(query):
    client = browse(**BOTH)
    assert client.get("/watch").status_code == 401
    opened = client.get(LINK + query.replace("?", "&"))
    assert (opened.status_code, opened.headers["location"]) == (303, f"/watch{query}")
    assert client.get("/watch").status_code == 200
    assert client.post("/api/control", json={"action": "pause"}).status_code == 403


@pytest.mark.parametrize(("token", "may"), [(TOKEN, True), (VIEW, False)])
def test_the_state_says_whether_its_reader_may_change_anything(token, may):
    client = browse(**BOTH)
    assert client.get("/api/state", headers={"Authorization": f"Bearer {token}"}).json()["may_change"] is may
    client.get("/", params={"token": token})
    assert client.get("/api/state").json()["may_change"] is may


def policy(**options) -> str:
    return browse(**options).get("/api/state").headers["content-security-policy"]


def test_only_named_origins_may_show_a_page_in_a_frame():
    assert policy().endswith("; frame-ancestors 'none'")
    assert policy(frame_ancestors=NAMED).endswith(f"; frame-ancestors 'self' {' '.join(NAMED)}")


@pytest.mark.parametrize(
    "origin",
    ["*", "example.org", "https://example.org/", "https://a b", "https://a; script-src *", "'self'", "https://"],
)
def test_what_is_no_origin_is_refused_in_one_line(origin):
    with pytest.raises(ConfigError, match=r"^serving\.frame_ancestors: ") as refused:
        ServerSettings(frame_ancestors=(origin,))
    assert repr(origin) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("scheme", "origins", "kind"), [("https", NAMED, "none"), ("https", (), "lax"), ("http", NAMED, "lax")]
)
def test_a_cookie_is_sent_from_frames_only_where_they_are_allowed(scheme, origins, kind):
    client = browse(f"{scheme}://127.0.0.1:7860", **BOTH, frame_ancestors=origins)
    cookie = client.get("/watch", params={"token": VIEW}).headers["set-cookie"]
    assert cookie.startswith(COOKIE)
    assert f"samesite={kind}" in cookie.lower()
