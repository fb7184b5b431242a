"""Requests that are too long, too deep, too slow or not what they say: refused, and the stream never sees them."""

import gzip
import json
import socket

import psutil
import pytest
from pydantic import ValidationError

from pp1_orchestrator.server.schemas import PromptUpdate, TimelineBody
from pp1_orchestrator.server.server_settings import Limits
from tests.server.conftest import LIMITS, Listening, build

CHUNK = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
GROWTH_BYTES = 5_000_000
HEAD = "POST /api/prompt HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nConnection: close\r\n"
ENDLESS = f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode() + CHUNK * 2 + b"1\r\n \r\n"
"""One byte more than is taken, and no end."""


@pytest.fixture(scope="module")
def parts():
    return build()


@pytest.fixture(scope="module")
def listening(parts):
    server = Listening(parts.app)
    yield server
    assert server.stop()


# Every request here asks for the connection to be closed, so that an answer has an end.
def answer_to(listening, data: bytes) -> bytes:
    """What the server says to these bytes until it closes the connection."""
    with socket.create_connection(("127.0.0.1", listening.port), timeout=120) as client:
        client.sendall(data)
        answer = b""
        while part := client.recv(65536):
            answer += part
        return answer


def posted(listening, body: bytes, *headers: str) -> tuple[int, str]:
    lines = "".join(f"{line}\r\n" for line in headers)
    head = f"{HEAD}{lines}Content-Length: {len(body)}\r\n\r\n"
    answer = answer_to(listening, head.encode() + body).decode()
    return int(answer.split()[1]), json.loads(answer.partition("\r\n\r\n")[2])["error"]


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"[" * 60_000, 400, "the body is not JSON"),
        (b'{"a":' * 10_000, 400, "the body is not JSON"),
        (b'{"prompt": ' + b"[" * 50_000, 400, "the body is not JSON"),
        (b'{"prompts": [{"text": ' + b'{"text": ' * 5_000, 400, "the body is not JSON"),
        (b'{"prompt": "a"} {"prompt": "b"}', 400, "the body is not JSON"),
        (b'{"prompt": "a", "transition": {"steps": 1e999}}', 4, ""),
        (b"\x00" * 1000, 400, "the body is not JSON"),
        (b"x" * (Limits().body_bytes + 1), 413, "the body is longer than 65536 bytes"),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else None,
)
def test_what_is_no_prompt(listening, parts, body, status, says):
    answered, error = posted(listening, body)
    assert answered in ((400, 422) if status == 4 else (status,)), error
    assert error.startswith(says)
    assert "\n" not in error
    assert parts.stream.updates == []


@pytest.mark.parametrize("body", [{"prompts": [{}] * 20_000}, {"entries": [{}] * 20_000}])
def test_a_list_is_checked_only_up_to_its_first_error(body):
    """Else one body with thousands of errors would hold the event loop up."""
    kind = TimelineBody if "entries" in body else PromptUpdate
    with pytest.raises(ValidationError) as refused:
        kind.model_validate(body)
    assert refused.value.error_count() == 1


def test_a_compressed_body_is_not_unpacked(listening, parts):
    bomb = gzip.compress(b'{"prompt": "' + b"x" * 20_000_000 + b'"}')
    assert len(bomb) < Limits().body_bytes
    status, error = posted(listening, bomb, "Content-Encoding: gzip")
    assert (status, error.startswith("the body is not JSON")) == (400, True)
    assert parts.stream.updates == []


def test_a_body_without_an_end_is_cut_off_at_the_limit(listening):
    assert answer_to(listening, ENDLESS).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("length", ["-1", "x", "1, 2", "99999999999999999999999"])
def test_a_length_that_is_none_is_refused(listening, length):
    answer = answer_to(listening, f"{HEAD}Content-Length: {length}\r\n\r\n".encode())
    assert answer.split()[1] in (b"400", b"413")


def test_a_body_that_does_not_come_is_given_up(listening):
    assert answer_to(listening, f"{HEAD}Content-Length: 100\r\n\r\n{{".encode()).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("start", [b"", b"G", b"POST /api/prompt HTTP/1.1\r\nHost: 127.0.0.1\r\n"])
def test_headers_that_do_not_come_are_given_up(listening, start):
    """The connection is closed; without that, so many of them would take all places."""
    assert answer_to(listening, start) == b""


def test_headers_that_trickle_in_are_given_up_too(listening):
    with socket.create_connection(("127.0.0.1", listening.port), timeout=120) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\n")
        client.settimeout(LIMITS.header_s / 10)
        for number in range(1000):
            try:
                client.sendall(f"X-{number}: 1\r\n".encode())
                if client.recv(100) == b"":
                    return
            except TimeoutError:
                continue
            except ConnectionError:
                return
    pytest.fail("the connection is still open")


def test_a_connection_that_is_used_again_has_its_full_time(listening):
    with socket.create_connection(("127.0.0.1", listening.port), timeout=120) as client:
        for _ in range(3):
            client.sendall(b"GET /healthz HTTP/1.1\r\n")
            client.sendall(b"Host: 127.0.0.1\r\n\r\n")
            answer = b""
            while not answer.endswith(b"ok\n"):
                answer += client.recv(4096)
            assert answer.startswith(b"HTTP/1.1 200 ")


def test_hundreds_of_long_bodies_leave_no_memory_behind(listening):
    for _ in range(20):
        answer_to(listening, ENDLESS)
    before = psutil.Process().memory_info().rss
    for _ in range(200):
        assert answer_to(listening, ENDLESS).startswith(b"HTTP/1.1 413 ")
    assert psutil.Process().memory_info().rss - before < GROWTH_BYTES
