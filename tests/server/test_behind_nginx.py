"""The server behind a real nginx with TLS, with the lines that docs/api.md gives."""

import contextlib
import ssl
from collections.abc import Iterator

import httpx
import pytest

from pp1_orchestrator.server.server_settings import Limits, Rate
from pp1_orchestrator.ui import mount_panel
from tests.server.conftest import Listening, build
from tests.server.nginx import COMMON, OWN_PAGE, ROOT, SUB_PATH, nginx
from tests.server.test_auth import BEARER, TOKEN

FEW_GUESSES = Limits(guesses=Rate(0.001, 4))
NAMED = {"Host": "stream.example"}


@contextlib.contextmanager
def proxied(folder, *lines: str, **options) -> Iterator[httpx.Client]:
    server = Listening(build(token=TOKEN, **options).app)
    try:
        with nginx(folder, server.port, *lines) as url:
            trust = ssl.create_default_context(cafile=folder / "pair.pem")
            with httpx.Client(base_url=url, verify=trust, timeout=120, headers=NAMED) as client:
                yield client
    finally:
        assert server.stop()


@pytest.mark.parametrize(
    ("lines", "options", "root"),
    [
        (ROOT, {}, ""),
        (SUB_PATH, {}, "/pp1"),
        ("location /pp1/ { proxy_pass http://127.0.0.1:7860/; }", {"root_path": "/pp1"}, "/pp1"),
        ("location /pp1/ { proxy_pass http://127.0.0.1:7860; }", {"root_path": "/pp1"}, "/pp1"),
    ],
)
def test_the_documented_lines_serve_everything(tmp_path, lines, options, root):
    with proxied(tmp_path, COMMON, lines, mount_panel=mount_panel, **options) as client:
        welcome = client.get(f"{root}/", params={"token": TOKEN})
        assert welcome.headers["location"] == f"{root}/"
        assert {"Secure", f"Path={root}/"} <= set(welcome.headers["set-cookie"].split("; "))
        page = client.get(f"{root}/", headers=BEARER)
        assert f'"root":"https://stream.example{root}"' in page.text
        assert client.get(f"{root}/theme.css", headers=BEARER).status_code == 200
        offer = client.post(f"{root}/whep", content="v=0", headers=BEARER | {"Content-Type": "application/sdp"})
        assert client.delete(offer.headers["location"], headers=BEARER).status_code == 200
        assert client.get(f"{root}/api/openapi.json", headers=BEARER).json()["servers"] == [{"url": root or "/"}]
        changed = client.post(
            f"{root}/api/control", json={"action": "pause"}, headers=BEARER | {"Origin": "https://stream.example"}
        )
        assert changed.status_code == 200
        with client.stream("GET", f"{root}/api/events", headers=BEARER) as events:  # not held back by the proxy
            assert next(events.iter_lines()).startswith("retry:")


def test_a_page_of_ones_own_and_the_stream_have_one_origin(tmp_path):
    (tmp_path / "index.html").write_text("own")
    with proxied(tmp_path, COMMON, OWN_PAGE.replace("/srv/my-page", str(tmp_path))) as client:
        assert client.get("/").text == "own"
        assert client.get("/api/state", headers=BEARER).status_code == 200


def test_the_header_of_a_client_does_not_change_whose_wrong_tokens_are_counted(tmp_path):
    with proxied(tmp_path, COMMON, ROOT, limits=FEW_GUESSES) as client:
        answers = [
            client.get("/api/state", headers={"Authorization": "Bearer no", "X-Forwarded-For": f"198.51.100.{number}"})
            for number in range(8)
        ]
    assert [answer.status_code for answer in answers] == [401] * 4 + [429] * 4
