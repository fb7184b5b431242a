"""The player in examples/ in a real browser, served from the stream's own origin with its real headers."""

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from starlette.responses import FileResponse

from pp1_orchestrator.server.app import create_app
from pp1_orchestrator.server.server_settings import ServerSettings
from tests.server.conftest import Listening
from tests.server.nginx import COMMON, OWN_PAGE, nginx
from tests.ui.browser import IN_BOTH, Visit, new_context, open_page, visit
from tests.ui.painted_stream import PaintedStream

PLAYER = Path(__file__).resolve().parents[2] / "examples" / "player.html"
TOKEN = "a token for the player"


def mount_player(app, *_: int) -> set[str]:
    app.add_api_route("/", lambda: FileResponse(PLAYER), response_class=FileResponse)
    return set()


@contextlib.contextmanager
def served(token: str | None) -> Iterator[tuple[PaintedStream, str]]:
    stream = PaintedStream()
    peers, sockets = stream.make_peers()
    settings = ServerSettings(token=token)
    registry = stream.metrics.registry
    parts = stream, peers, stream.clips, stream.events, registry, settings, mount_player
    app = create_app(*parts, sockets=sockets)
    server = Listening(app)
    try:
        yield stream, server.url
    finally:
        assert server.stop()
        stream.close()


@IN_BOTH
def test_it_plays_the_stream_and_leaves_with_its_page(browser):
    with served(None) as (stream, url):
        stream.prompt = "red"
        page = visit(browser, url)
        page.wait_playing()
        page.wait_colour("r > 150 && g < 90")
        assert viewers(url) == 1
        assert page.page.inner_text("#status") == ""
        page.page.goto("about:blank")
        until(lambda: viewers(url) == 0)
        assert page.complaints == []


@pytest.mark.parametrize(("token", "plays"), [(TOKEN, True), ("wrong", False)])
def test_it_sends_a_token_or_shows_why_there_is_no_video(browser, token, plays):
    """Served by a proxy in front of a stream, as docs/api.md has it: only the stream asks for the token."""
    with served(TOKEN) as (_, url), contextlib.closing(new_context(browser)) as context:
        context.route(f"{url}/player.html", lambda route: route.fulfill(path=PLAYER))
        page = Visit(context.new_page())
        page.page.goto(f"{url}/player.html#token={token}")
        if plays:
            page.wait_playing()
        else:
            page.page.wait_for_function("() => document.querySelector('#status').textContent.startsWith('a token is')")


@IN_BOTH
def test_where_no_udp_passes_it_takes_the_websocket(blocked):
    with served(None) as (stream, url):
        follows(stream, open_page(blocked, url))


def test_a_token_is_enough_for_it_on_a_page_of_ones_own(blocked, tmp_path):
    """Behind a real nginx, with the lines of docs/api.md."""
    shutil.copy(PLAYER, tmp_path / "player.html")
    with (
        served(TOKEN) as (stream, url),
        nginx(tmp_path, int(url.rpartition(":")[2]), COMMON, OWN_PAGE.replace("/srv/my-page", str(tmp_path))) as front,
    ):
        follows(stream, open_page(blocked, f"{front}/player.html#token={quote(TOKEN)}"))


def follows(stream: PaintedStream, page: Visit) -> None:
    """The canvas shows the stream, until the page is left."""
    stream.prompt = "red"
    page.page.wait_for_selector("canvas:not([hidden])")
    page.wait_colour("r > 150 && g < 90")
    stream.prompt = "blue"
    page.wait_colour("b > 150 && r < 90")
    assert over_tcp(stream) == 1
    assert page.page.inner_text("#status") == ""
    page.page.goto("about:blank")
    until(lambda: over_tcp(stream) == 0)


def over_tcp(stream: PaintedStream) -> float | None:
    """How many viewers watch over a WebSocket."""
    return stream.metrics.registry.get_sample_value("pp1_viewers", {"transport": "websocket"})


def viewers(url: str) -> int:
    return httpx.get(f"{url}/api/state", timeout=120).json()["viewers"]


def until(predicate) -> None:
    deadline = time.monotonic() + 120
    while not predicate():
        assert time.monotonic() < deadline
        time.sleep(0.02)
