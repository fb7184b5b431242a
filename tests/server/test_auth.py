"""Access rules, for every route of the application."""

import pytest
from starlette.routing import Route
from starlette.testclient import TestClient

from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.server.auth import COOKIE, HEALTH_PATHS, SAFE_METHODS
from pp1_orchestrator.server.server_settings import ServerSettings
from tests.server.conftest import build

TOKEN = "correct horse battery staple"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
HOME = "http://127.0.0.1:7860"


def leaves(routes):
    """Every route, including those of included routers."""
    for route in routes:
        if isinstance(route, Route):
            yield route
        inner = getattr(route, "original_router", None) or getattr(route, "router", None)
        yield from leaves(getattr(inner or route, "routes", []))


def all_routes() -> list[tuple[str, str]]:
    """Every method and path."""
    found = {
        (method, route.path.replace("{viewer_id}", "v0").replace("{clip_id}", "c0"))
        for route in leaves(build().app.routes)
        for method in route.methods or ()
    }
    return sorted(found)


def browse(base_url=HOME, **options) -> TestClient:
    return TestClient(build(**options).app, base_url=base_url, raise_server_exceptions=False, follow_redirects=False)


def test_the_table_knows_the_routes():
    expected = {
        ("POST", "/whep"), ("OPTIONS", "/whep"), ("DELETE", "/whep/v0"), ("GET", "/api/state"),
        ("POST", "/api/prompt"), ("POST", "/api/control"), ("POST", "/api/source"), ("GET", "/api/events"),
        ("GET", "/metrics"), ("GET", "/healthz"), ("GET", "/readyz"),
        ("GET", "/api/timeline"), ("PUT", "/api/timeline"), ("DELETE", "/api/timeline"), ("GET", "/api/recording"),
        ("GET", "/api/history"),
        ("GET", "/api/openapi.json"), ("GET", "/api/lease"), ("POST", "/api/lease"), ("DELETE", "/api/lease"),
        ("POST", "/api/lease/handover"), ("GET", "/api/clips"), ("POST", "/api/clips"), ("GET", "/api/clips/c0"),
        ("GET", "/watch"), ("GET", "/api/share"), ("GET", "/api/prompt/guide"),
    }  # fmt: skip
    assert set(all_routes()) == expected | {("HEAD", path) for method, path in expected if method == "GET"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org"])
def test_without_a_token_only_loopback_is_served(host):
    with pytest.raises(ConfigError, match=r"serving\.token") as refused:
        ServerSettings(host=host)
    assert "\n" not in str(refused.value)
    assert ServerSettings(host=host, token=TOKEN).host == host


@pytest.mark.parametrize(("method", "path"), [*all_routes(), ("GET", "/"), ("GET", "/gradio_api/info")])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_with_a_token_every_route_but_health_needs_it(method, path, host):
    client = browse(host=host, token=TOKEN)
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}, {"Cookie": f"{COOKIE}={TOKEN}"}):
        refused = client.request(method, path, headers=headers).status_code == 401
        assert refused is (path not in HEALTH_PATHS), headers
    if path != "/api/events":  # has no end
        assert client.request(method, path, headers=BEARER).status_code != 401


@pytest.mark.parametrize(
    ("host", "page"),
    [
        ("127.0.0.1", "http://127.0.0.1:7100/"),
        ("localhost", "http://localhost:7100/"),
        ("::1", "http://[::1]:7100/"),
        ("fd00::7", "http://[fd00::7]:7100/"),
        ("0.0.0.0", "http://127.0.0.1:7100/"),
        ("::", "http://[::1]:7100/"),
    ],
)
def test_the_address_of_the_page_is_one_that_a_browser_takes(host, page):
    assert ServerSettings(host=host, port=7100, token=TOKEN).page == page


def test_a_page_sends_the_token_once_and_gets_a_cookie():
    client = browse(host="0.0.0.0", token=TOKEN)
    assert client.get("/", params={"token": "wrong"}).status_code == 401
    assert client.get("/api/state", params={"token": TOKEN}).status_code == 401
    welcome = client.get("/", params={"token": TOKEN})
    assert (welcome.status_code, welcome.headers["location"]) == (303, "/")
    cookie = welcome.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert TOKEN not in cookie
    assert client.get("/api/state").status_code == 200


@pytest.mark.parametrize(("scheme", "secure"), [("http", False), ("https", True)])
def test_a_cookie_set_over_tls_is_secure(scheme, secure):
    client = browse(f"{scheme}://127.0.0.1:7860", token=TOKEN)
    cookie = client.get("/", params={"token": TOKEN}).headers["set-cookie"]
    assert ("secure" in cookie.lower().split("; ")) is secure


@pytest.mark.parametrize(("method", "path"), [*all_routes(), ("GET", "/")])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "10.0.0.1", "[::1", ""]
)
def test_on_loopback_a_foreign_host_is_refused_everywhere(method, path, host):
    assert browse().request(method, path, headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost", "LOCALHOST:99", "[::1]:7860"])
def test_on_loopback_its_own_names_are_served(host):
    assert browse().get("/api/state", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(("method", "path"), [route for route in all_routes() if route[0] not in SAFE_METHODS])
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://localhost:7860", "http://["]
)
@pytest.mark.parametrize("options", [{}, {"host": "0.0.0.0", "token": TOKEN}])
def test_what_changes_something_is_refused_to_other_origins(method, path, origin, options):
    answer = browse(**options).request(method, path, headers={"Origin": origin, **BEARER})
    assert answer.status_code == 403


def test_a_refusal_names_what_was_refused_and_what_is_allowed():
    host = browse().get("/api/state", headers={"Host": "evil.example"}).json()["error"]
    assert host.startswith(
        "Host 'evil.example' is not served here; use 127.0.0.1, ::1, localhost; any other name needs "
    )
    origin = browse().post("/api/control", headers={"Origin": "http://evil.example"}).json()["error"]
    assert origin == "Origin 'http://evil.example' may not change anything here; only pages of 127.0.0.1:7860 may"


def test_the_own_origin_and_none_are_fine():
    for headers in ({}, {"Origin": HOME}):
        answer = browse().post("/api/control", json={"action": "pause"}, headers=headers)
        assert answer.status_code == 200


def test_no_answer_allows_other_origins_and_all_are_hardened():
    for path in ("/api/state", "/nothing"):
        headers = browse().get(path, headers={"Origin": "http://evil.example"}).headers
        assert "access-control-allow-origin" not in headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'self'" in headers["content-security-policy"]


def test_a_token_may_have_any_letters_in_a_header_an_address_and_a_form():
    token = "s\u20accret \u7ea2"
    client = browse(token=token)
    header = [(b"Authorization", f"Bearer {token}".encode())]
    assert client.get("/api/state", headers=header).status_code == 200
    assert client.get("/", params={"token": token}).status_code == 303
    assert browse(token=token).post("/sign-in", data={"token": token}).status_code == 303


def test_a_header_with_strange_bytes_is_not_a_token():
    answer = browse(token=TOKEN).get("/api/state", headers=[(b"Authorization", b"Bearer \xff\xfe")])
    assert answer.status_code == 401
