"""Crowds of connections that take all places and give nothing: others are served, and health is always answered."""

import contextlib
import itertools
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import h11
import httpx
import psutil
import pytest

from pp1_orchestrator.server.listener import ACCEPTS_A_ROUND
from pp1_orchestrator.server.tls import CERT, KEY, make_pair, tls_context
from pp1_orchestrator.types import TimelineEntry
from tests.server.conftest import LIMITS, Listening, build
from tests.timing import scaled

PLACES = 24
FEW = replace(LIMITS, connections=PLACES, connections_per_client=6, spare_connections=4, header_s=60)
LARGE = [TimelineEntry(chunk=n, prompt="a green star on a black background") for n in range(60_000)]
"""4 MB as JSON: more than the kernel takes for a client that does not read."""
ASK = "GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
HEALTH_S = 0.1
"""On an idle machine, for 99 of 100 answers."""
PROBES = 60
PIPELINED = 4
WAITING_BYTES = 100_000
"""At which asyncio says that a client is slow, and a piece more."""


@contextlib.contextmanager
def serving(limits=FEW, host="127.0.0.1", **options) -> Iterator[Listening]:
    parts = build(limits=limits, **options)
    parts.stream.entries = LARGE
    server = Listening(parts.app, limits=limits, host=host)
    try:
        yield server
    finally:
        assert server.stop()


@contextlib.contextmanager
def crowd(server: Listening, size: int, data: bytes, host: str = "127.0.0.1") -> Iterator[list[socket.socket]]:
    """Clients that send this and never read."""
    with contextlib.ExitStack() as opened:
        clients = []
        for _ in range(size):
            client = opened.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(120)
            client.connect((host, server.port))
            with contextlib.suppress(ConnectionError):  # its place is gone already
                client.sendall(data)
            clients.append(client)
        yield clients


BROWSER = httpx.Client(timeout=120, limits=httpx.Limits(max_keepalive_connections=0))
"""Each of its requests has a connection of its own."""


def ask(server: Listening, path: str) -> httpx.Response:
    return BROWSER.get(f"{server.url}{path}")


def assert_health_is_quick(server: Listening) -> None:
    """In the quickest of some rounds: other programs may disturb one."""
    for left in reversed(range(5)):
        took_s = []
        for _ in range(PROBES):
            start = time.monotonic()
            assert ask(server, "/healthz").status_code == 200
            took_s.append(time.monotonic() - start)
        if sorted(took_s)[int(PROBES * 0.99)] <= scaled(HEALTH_S):
            return
        assert left, sorted(took_s)[-5:]


def is_open(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1 << 16) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"G",
        b"GET /api/state HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        b"POST /api/prompt HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{",
        ASK.format("/api/timeline").encode(),
        ASK.format("/api/timeline").encode() * 20,
    ],
    ids=["nothing", "a byte", "half of the headers", "half of a body", "a large answer", "large answers in a row"],
)
@pytest.mark.parametrize("size", [PLACES - 1, PLACES * 4])
def test_a_crowd_that_gives_nothing_keeps_nobody_out(data, size):
    with serving() as server, crowd(server, size, data):
        assert_health_is_quick(server)
        assert ask(server, "/api/state").status_code == 200


@pytest.mark.parametrize("size", [PLACES - 1, PLACES * 4])
def test_requests_in_a_row_without_a_token_keep_nobody_out(size):
    data = b"".join(ASK.format(path).encode() for path in itertools.islice(itertools.cycle(["/", "/api/state"]), 2000))
    with serving(token="only for friends") as server, crowd(server, size, data):
        assert_health_is_quick(server)
        assert ask(server, "/api/state").status_code == 401


def test_health_is_answered_when_all_places_are_in_use():
    """By connections that the server works for, so that none can make room."""
    limits = replace(FEW, connections=2, event_streams=2)
    with serving(limits) as server, httpx.Client(base_url=server.url, timeout=120) as client:
        with client.stream("GET", "/api/events"), client.stream("GET", "/api/events"):
            with crowd(server, 30, b""):
                assert_health_is_quick(server)
            refused = ask(server, "/api/state")
            assert (refused.status_code, refused.headers["connection"]) == (503, "close")
            assert refused.json() == {"error": "all connections of the server are in use"}
        for _ in range(600):
            if ask(server, "/api/state").status_code == 200:
                return
            time.sleep(0.1)
    pytest.fail("no place was free again")


def test_health_is_answered_before_those_that_connect_later_take_its_place():
    """All of them are there when the event loop looks."""
    limits = replace(LIMITS, connections=2, event_streams=2)
    health_request = ASK.format("/healthz").encode()
    with (
        serving(limits) as server,
        httpx.Client(base_url=server.url, timeout=120) as client,
        client.stream("GET", "/api/events"),
        client.stream("GET", "/api/events"),
    ):
        held = threading.Event()
        next(iter(server.server.server_state.connections)).loop.call_soon_threadsafe(held.wait)
        with crowd(server, 1, health_request) as (health,), crowd(server, 3 * ACCEPTS_A_ROUND, b""):
            held.set()
            assert health.recv(4096).startswith(b"HTTP/1.1 200")


def test_a_body_in_chunks_of_a_byte_takes_turns():
    head = b"POST /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"1\r\na\r\n" * 50_000  # more than the event loop reads at a time
    limits, done = replace(FEW, header_s=1), threading.Event()

    def send_again_and_again(port: int) -> None:
        while not done.is_set():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 120) as client:
                client.sendall(head)
                while not done.is_set():
                    client.sendall(chunks)

    with serving(limits) as server:
        senders = [threading.Thread(target=send_again_and_again, args=(server.port,)) for _ in range(2)]
        for sender in senders:
            sender.start()
        try:
            assert_health_is_quick(server)
        finally:
            done.set()
            for sender in senders:
                sender.join()


def test_a_request_has_no_more_headers_than_a_client_needs():
    with serving() as server:
        for count, status in ((90, 200), (101, 431)):
            headers = {f"x-{number}": "" for number in range(count)}
            assert BROWSER.get(f"{server.url}/api/state", headers=headers).status_code == status


def test_tls_connections_that_make_room_are_closed_whether_their_clients_agree_or_not(tmp_path):
    make_pair("127.0.0.1", tmp_path)
    trust = ssl.create_default_context(cafile=tmp_path / CERT)
    tls = tls_context(None, str(tmp_path / CERT), str(tmp_path / KEY), "127.0.0.1", tmp_path)
    server = Listening(build(limits=FEW).app, limits=FEW, tls=tls)
    with contextlib.ExitStack() as opened:
        for _ in range(PLACES * 4):
            plain = opened.enter_context(socket.create_connection(("127.0.0.1", server.port), 120))
            opened.enter_context(trust.wrap_socket(plain, server_hostname="127.0.0.1"))
        assert httpx.get(f"{server.url}/healthz", verify=trust, timeout=120).status_code == 200
        assert len(server.server.server_state.connections) <= PLACES + FEW.spare_connections
    assert server.stop()


def test_an_answer_that_nobody_takes_is_given_up():
    limits = replace(FEW, answer_s=0.2, answer_bytes_s=100e6)
    with serving(limits) as server, crowd(server, 1, ASK.format("/api/timeline").encode()):
        for is_there in (True, False):
            end = time.monotonic() + 120
            while bool(server.server.server_state.connections) is not is_there:
                assert time.monotonic() < end
                time.sleep(0.01)


def test_an_answer_that_is_taken_slowly_is_whole():
    limits = replace(FEW, answer_s=0.5, answer_bytes_s=100e6)
    request = ASK.format("/api/timeline").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
    with serving(limits) as server, crowd(server, 1, request.encode()) as (client,):
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method="GET", target="/", headers=[("Host", "127.0.0.1")]))
        parser.send(h11.EndOfMessage())
        body = bytearray()
        while not isinstance(event := parser.next_event(), h11.EndOfMessage):  # raises where the answer is cut short
            if event is h11.NEED_DATA:
                time.sleep(0.001)
                parser.receive_data(client.recv(1 << 14))
            elif isinstance(event, h11.Data):
                body += event.data
        assert len(json.loads(body)["entries"]) == len(LARGE)


def test_little_of_an_answer_waits_for_a_client_that_does_not_take_it():
    with serving() as server, crowd(server, PLACES - 1, ASK.format("/api/timeline").encode()):
        connections: Any = server.server.server_state.connections
        end = time.monotonic() + 120
        while sum(connection.flow.write_paused for connection in connections) < PLACES - 1:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert max(connection.transport.get_write_buffer_size() for connection in connections) <= WAITING_BYTES


def test_the_rest_of_a_body_that_is_answered_is_not_waited_for():
    """Bytes that trickle in after a refusal keep a connection open no longer than headers that trickle in."""
    limits = replace(LIMITS, body_bytes=10)
    head = b"POST /api/prompt HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n"
    with serving(limits) as server, crowd(server, 1, head) as (client,):
        assert client.recv(4096).startswith(b"HTTP/1.1 413 ")
        end = time.monotonic() + 120
        while is_open(client):
            with contextlib.suppress(ConnectionError):
                client.send(b"x")
            assert time.monotonic() < end
            time.sleep(0.05)


def test_one_address_does_not_take_the_places_of_others():
    found = [a.address for card in psutil.net_if_addrs().values() for a in card if a.family == socket.AF_INET]
    host = next((address for address in found if not address.startswith("127.")), None)
    if host is None:
        pytest.skip("this machine has no address but loopback")
    with (
        serving(host="0.0.0.0", token="only for friends") as server,
        crowd(server, 3, b"") as first,
        crowd(server, PLACES, b"", host) as clients,
    ):
        assert ask(server, "/healthz").status_code == 200
        assert sum(map(is_open, clients)) <= FEW.connections_per_client
        assert all(map(is_open, first))


def test_health_is_answered_before_what_a_crowd_asked_earlier():
    """All of it is there when the event loop looks. Its order counts, not how long it takes."""
    limits = replace(LIMITS, connections=2 * PLACES)
    parts, held, answered, before_health = build(limits=limits), threading.Event(), [], []
    state = parts.stream.state
    parts.stream.state = lambda: answered.append(None) or state()
    parts.stream.alive = lambda: before_health.append(len(answered)) or True
    server = Listening(parts.app, limits=limits)
    connections, end = server.server.server_state.connections, time.monotonic() + 120
    with crowd(server, PLACES, b"") as clients, crowd(server, 1, b"") as (health,):
        while len(connections) <= PLACES:
            assert time.monotonic() < end
            time.sleep(0.01)
        next(iter(connections)).loop.call_soon_threadsafe(held.wait)
        for client in clients:
            client.sendall(ASK.format("/api/state").encode() * PIPELINED)
        health.sendall(ASK.format("/healthz").encode())
        held.set()
        while len(answered) < PLACES * PIPELINED:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert health.recv(4096).startswith(b"HTTP/1.1 200")
        assert before_health[0] <= PLACES / 2
    assert server.stop()
