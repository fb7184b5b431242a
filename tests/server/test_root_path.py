"""Everything below a path: by the setting or by a proxy's header, and whether the proxy takes it off or not."""

import pytest
from starlette.testclient import TestClient

from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.server.auth import COOKIE
from pp1_orchestrator.server.root_path import OWN_NAMES
from pp1_orchestrator.server.server_settings import ServerSettings
from pp1_orchestrator.ui import mount_panel
from tests.server.conftest import build
from tests.server.test_auth import BEARER, HOME, TOKEN

PREFIX = {"X-Forwarded-Prefix": "/pp1/"}
SDP = {"Content-Type": "application/sdp"}


def browse(peer: str = "127.0.0.1", **options) -> TestClient:
    app = build(token=TOKEN, **options).app
    return TestClient(app, base_url=HOME, client=(peer, 50000), follow_redirects=False)


@pytest.mark.parametrize("path", ["", "/pp1"])
@pytest.mark.parametrize(("options", "headers"), [({"root_path": "/pp1"}, {}), ({}, PREFIX)])
def test_all_addresses_that_the_server_gives_are_below_the_path(path, options, headers):
    client = browse(mount_panel=mount_panel, **options)
    welcome = client.get(f"{path}/", params={"token": TOKEN}, headers=headers)
    assert (welcome.status_code, welcome.headers["location"]) == (303, "/pp1/")
    assert "Path=/pp1/;" in welcome.headers["set-cookie"]
    given = {**headers, **BEARER}
    assert client.post(f"{path}/whep", content="v=0", headers=given | SDP).headers["location"].startswith("/pp1/whep/")
    document = client.get(f"{path}/api/openapi.json", headers=given).json()
    assert document["servers"] == [{"url": "/pp1"}]
    assert f'"root":"{HOME}/pp1"' in client.get(f"{path}/", headers=given).text
    assert client.get(f"{path}/theme.css", headers=given).status_code == 200
    assert client.get(f"{path}/pp1/api/state", headers=given).status_code == 404 if path else True


def test_the_path_without_its_slash_leads_to_the_page():
    moved = browse(root_path="/pp1").get("/pp1?token=x")
    assert (moved.status_code, moved.headers["location"]) == (307, "/pp1/?token=x")


@pytest.mark.parametrize("peer", ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "unix"])
def test_only_a_proxy_on_this_machine_names_a_path(peer):
    for here in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        assert browse(here).get("/", params={"token": TOKEN}, headers=PREFIX).headers["location"] == "/pp1/"
    assert browse(peer).get("/", params={"token": TOKEN}, headers=PREFIX).headers["location"] == "/"


@pytest.mark.parametrize(
    "given", ["pp1", "//evil.example", "/a;b", "/../x", "/a, /b", "/api", "/" + "x" * 200, "/é", "/"]
)
def test_a_header_that_names_no_path_is_not_followed(given):
    headers = {b"X-Forwarded-Prefix": given.encode()}
    assert browse().get("/", params={"token": TOKEN}, headers=headers).headers["location"] == "/"


@pytest.mark.parametrize(
    "given", ["", "pp1", "/pp1/", "/", "//x", "/a b", "/..", *(f"/{name}" for name in sorted(OWN_NAMES))]
)
def test_a_setting_that_is_no_path_is_one_line(given):
    with pytest.raises(ConfigError, match=r"^serving\.root_path=.*: expected a path such as /pp1, without .*$"):
        ServerSettings(root_path=given)


def test_a_cookie_of_one_path_opens_no_other():
    client = browse(root_path="/pp1")
    client.get("/pp1/", params={"token": TOKEN})
    assert [cookie.path for cookie in client.cookies.jar if cookie.name == COOKIE] == ["/pp1/"]
    assert client.get("/pp1/api/state").status_code == 200
    assert client.get("/pp12/api/state").status_code == 401
