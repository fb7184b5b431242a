"""The video over a WebSocket: who may open one, what it carries, and what a client can't do with it."""

import contextlib
import json
import socket
import threading
import time
import types
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from pp1_orchestrator.media.broadcaster import Broadcaster
from pp1_orchestrator.media.media_settings import PeerLimits, VideoSettings
from pp1_orchestrator.media.socket_viewers import HEADER, KEYFRAME, REPORT, SocketViewers
from pp1_orchestrator.server.server_settings import Rate
from tests.media.numbered_frames import SIZE, Counted, numbered, read_number
from tests.media.test_broadcaster import decode
from tests.server.conftest import LIMITS, Listening, build

TOKEN, VIEW = "correct horse", "battery staple"
BOTH: Any = {"token": TOKEN, "view_token": VIEW}
VIDEO = VideoSettings(SIZE, SIZE, 100)
HANDSHAKE = (
    "GET /ws/stream HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@contextlib.contextmanager
def served(peer_limits=None, limits=LIMITS, **options: Any) -> Iterator[types.SimpleNamespace]:
    """A server with a broadcaster that shows numbered frames, 100 a second."""
    figures, done = Counted(), threading.Event()
    broadcaster = Broadcaster(VIDEO, figures)
    viewers = SocketViewers(broadcaster, VIDEO, peer_limits or PeerLimits(), figures, list)

    def show() -> None:
        number = 0
        while not done.wait(0.01):
            broadcaster.show(numbered(number % 4096), number / 100)
            number += 1

    made = build(limits=limits, sockets=viewers, **options)
    server, thread = Listening(made.app, limits=limits), threading.Thread(target=show)
    thread.start()
    try:
        yield types.SimpleNamespace(viewers=viewers, figures=figures, server=server, port=server.port)
    finally:
        assert server.stop()
        done.set()
        thread.join()


def open_socket(site, path: str = "/ws/stream", **headers: str) -> ClientConnection:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return connect(f"ws://127.0.0.1:{site.port}{path}", additional_headers=given, open_timeout=120, compression=None)


def refused(site, path: str = "/ws/stream", **headers: str) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as error:
        open_socket(site, path, **headers)
    response = error.value.response
    return response.status_code, json.loads(response.body or b"{}")["error"]


def end_of(client: ClientConnection) -> tuple[int, str]:
    """Read until the server ends it; why it does."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            client.recv(120)
    rcvd = client.protocol.close_rcvd
    assert rcvd is not None
    return rcvd.code, rcvd.reason


@contextlib.contextmanager
def open_raw(site, host: str = "127.0.0.1") -> Iterator[socket.socket]:
    """A connection that has asked for a WebSocket, and reads little."""
    with contextlib.closing(socket.socket()) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(120)
        client.connect(("127.0.0.1", site.port))
        client.sendall(HANDSHAKE.format(host).encode())
        yield client


def until(predicate) -> None:
    deadline = time.monotonic() + 120
    while not predicate():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_carries_a_description_and_packets_that_a_decoder_takes():
    with served() as site:
        with open_socket(site) as client:
            assert json.loads(client.recv(120)) == site.viewers.config()
            messages = []
            for number in range(40):
                messages.append(client.recv(120))
                client.send(REPORT.pack(number))
        heads = [HEADER.unpack_from(message) for message in messages]
        assert heads[0][0] == KEYFRAME
        assert [number for _, number, _ in heads] == list(range(40))
        shown = [read_number(rgb) for rgb in decode([message[HEADER.size :] for message in messages], "vp8")]
        assert shown == list(range(shown[0], shown[0] + 40))
        until(lambda: site.viewers.count == 0)


def test_the_places_and_the_connection_are_free_when_a_viewer_leaves():
    with served(PeerLimits(viewers=1)) as site:
        for _ in range(3):
            with open_socket(site) as client:
                client.recv(120)
                with open_socket(site) as second:
                    assert end_of(second) == (1013, "all 1 viewer places are taken")
            until(lambda: site.viewers.count == 0)
        until(lambda: not site.server.server._connections._placed)


def test_a_viewer_of_this_kind_counts_as_a_viewer():
    with served() as site, open_socket(site) as client:
        client.recv(120)
        until(lambda: site.viewers.count == 1)
        asked = socket.create_connection(("127.0.0.1", site.port), timeout=120)
        asked.sendall(b"GET /api/state HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        with asked, asked.makefile("rb") as answer:
            assert json.loads(answer.read().split(b"\r\n\r\n", 1)[1])["viewers"] == 1


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1"])
@pytest.mark.parametrize("options", [{}, BOTH])
def test_pages_of_other_origins_get_nothing(origin, options):
    with served(**options) as site:
        status, line = refused(site, Origin=origin, Authorization=f"Bearer {TOKEN}")
        assert (status, line.startswith(f"Origin '{origin}' may not")) == (403, True)
        with open_socket(site, Origin=f"http://127.0.0.1:{site.port}", Authorization=f"Bearer {TOKEN}") as client:
            assert json.loads(client.recv(120))["type"] == "config"


def test_a_foreign_host_gets_nothing():
    with served() as site, open_raw(site, "evil.example") as client:
        assert client.recv(100).startswith(b"HTTP/1.1 403 ")


def test_each_token_lets_its_holder_watch_and_nobody_else():
    with served(**BOTH) as site:
        assert refused(site)[0] == 401
        assert refused(site, Authorization="Bearer wrong")[0] == 401
        for token in (TOKEN, VIEW):
            with open_socket(site, Authorization=f"Bearer {token}") as client:
                assert json.loads(client.recv(120))["type"] == "config"


@pytest.mark.parametrize("path", ["/", "/gradio_api/queue/join", "/api/state", "/ws", "/ws/stream/"])
def test_nothing_else_is_a_websocket(path):
    with served() as site:
        assert refused(site, path) == (404, f"there is no WebSocket at {path}")


def test_opening_many_is_limited_like_offers():
    with served(limits=replace(LIMITS, offers=Rate(0.01, 2))) as site:
        for _ in range(2):
            with open_socket(site) as client:
                client.recv(120)
        status, line = refused(site)
        assert (status, line) == (429, "too many offers: at most 0.01 a second from one address")


def test_a_viewer_that_does_not_report_is_ended():
    with served(PeerLimits(silent_s=0.3)) as site, open_socket(site) as client:
        assert end_of(client) == (1008, "no report within 0.3 s")
        until(lambda: site.viewers.count == 0)


@pytest.mark.slow
def test_a_viewer_that_does_not_read_is_ended_and_its_connection_too():
    limits = replace(LIMITS, answer_s=0.2, answer_bytes_s=100e6)
    with served(PeerLimits(silent_s=0.5, packets_unreported=10_000), limits) as site, open_raw(site):
        until(lambda: site.viewers.count == 1)
        until(lambda: site.viewers.count == 0)
        until(lambda: not site.server.server.server_state.connections)


@pytest.mark.parametrize("sent", [b"report", "report", REPORT.pack(2**31)])
def test_what_is_no_report_ends_the_viewer(sent):
    with served() as site, open_socket(site) as client:
        client.send(sent)
        assert end_of(client)[0] == 1008


@pytest.mark.parametrize("flood", [b"\x89\x80\0\0\0\0", b"\x82\x84\0\0\0\0\0\0\0\0", b"\x00\x80\0\0\0\0"])
def test_a_flood_of_small_messages_is_cut_off(flood):
    """Pings, reports, and parts of a message without an end."""
    with served() as site, open_raw(site) as client:
        until(lambda: site.viewers.count == 1)
        with contextlib.suppress(ConnectionError):
            while True:
                client.sendall(flood * 1000)
        until(lambda: site.viewers.count == 0)


@pytest.mark.parametrize("body", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_a_handshake_with_a_body_is_refused_and_its_connection_closed(body):
    with served() as site, contextlib.closing(socket.create_connection(("127.0.0.1", site.port), 30)) as client:
        client.sendall(HANDSHAKE.format("127.0.0.1").replace("\r\n\r\n", f"\r\n{body}\r\n\r\n").encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 400 ")
        assert client.recv(1) == b""
        until(lambda: not site.server.server._connections._placed)


def test_a_long_message_is_refused():
    with served() as site, open_socket(site) as client:
        client.send(b"x" * 2000)
        assert end_of(client)[0] == 1009


def test_the_end_of_the_server_ends_its_viewers_at_once():
    with served() as site, open_socket(site) as client:
        client.recv(120)
        site.server.server.stop()
        assert end_of(client)[0] == 1012
