"""What strangers make the program log is little, whatever they send; what the operator needs is all there."""

import logging
import socket

import pytest

from pp1_orchestrator.processes.log_setup import LINES_A_MINUTE, STRANGERS, FloodFilter, limit_floods
from tests.server.conftest import Listening, build

SERVER = logging.getLogger("pp1_orchestrator.server.somewhere")
RANKS = logging.getLogger("pp1_orchestrator.supervision.somewhere")


class Lines(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record):
        self.lines.append(self.format(record))


@pytest.fixture
def handler():
    """On the root logger, with the filter that the program has."""
    kept, root = Lines(), logging.getLogger()
    root.addHandler(kept)
    level, others = root.level, [(other, list(other.filters)) for other in root.handlers]
    root.setLevel(logging.INFO)
    limit_floods()
    yield kept
    for other, filters in others:
        other.filters = filters
    root.setLevel(level)
    root.removeHandler(kept)


def fail(why: str) -> None:
    raise ValueError(why)


def fail_elsewhere() -> None:
    raise ValueError("elsewhere")


def test_one_warning_of_a_kind_a_minute_and_more_of_what_is_normal():
    now = 100.0
    flood = FloodFilter(lambda: now)

    def passed(level: int, line: int = 1, name: str = SERVER.name) -> bool:
        return flood.filter(logging.LogRecord(name, level, "here.py", line, "text", (), None))

    assert [passed(logging.WARNING) for _ in range(3)] == [True, False, False]
    assert passed(logging.WARNING, line=2)
    assert [passed(logging.INFO, line=3) for _ in range(LINES_A_MINUTE + 1)] == [True] * LINES_A_MINUTE + [False]
    assert all(passed(logging.WARNING, name=RANKS.name) for _ in range(1000))
    now += 60
    assert [passed(logging.WARNING) for _ in range(2)] == [True, False]


def test_each_error_is_logged_once_with_its_traceback(handler):
    for number in range(100):
        for cause in (lambda n=number: fail(f"text {n}"), fail_elsewhere):
            try:
                cause()
            except ValueError:
                SERVER.exception("request %d failed", number)
        RANKS.warning("rank %d ended", number)
    errors = [line for line in handler.lines if "Traceback" in line]
    assert [("ValueError: text 0" in line, "ValueError: elsewhere" in line) for line in errors] == [
        (True, False),
        (False, True),
    ]
    assert sum("ended" in line for line in handler.lines) == 100


def test_all_handlers_get_the_same_lines():
    flood = FloodFilter()
    record = logging.LogRecord(SERVER.name, logging.WARNING, "here.py", 1, "text", (), None)
    assert [flood.filter(record), flood.filter(record)] == [True, True]


def test_all_loggers_of_libraries_that_clients_reach_are_named():
    assert {"uvicorn", "asyncio", "aioice", "aiortc"} <= set(STRANGERS)


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\xff\r\n\r\n",
        b"GET /\r\n\r\n",
        b"BREW / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"POST /api/prompt HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n"
        b'{"prompt": "broken"}',
    ],
    ids=["no HTTP", "no version", "no method", "an upgrade", "an error of the program"],
)
def test_requests_by_the_hundred(handler, data):
    server = Listening(build().app)
    try:
        for _ in range(200):
            with socket.create_connection(("127.0.0.1", server.port), timeout=120) as client:
                client.sendall(data)
                assert client.recv(100).startswith(b"HTTP/1.1 ")
    finally:
        assert server.stop()
    assert sum(map(len, handler.lines)) < 20_000, handler.lines
    assert len(handler.lines) <= 5
