"""Binding the port and shutting down; in a subprocess where signals are involved."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import httpx
import psutil
import pytest

from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.server.port import bind, check_port
from tests.system.program import free_port
from tests.timing import stopwatch

ROOT = Path(__file__).parents[2]
PROGRAM = textwrap.dedent("""
    import sys
    from pp1_orchestrator.processes.signals import on_signals
    from pp1_orchestrator.server.http_server import HttpServer
    from pp1_orchestrator.server.port import bind
    from tests.server.conftest import build
    parts = build()
    server = HttpServer(parts.app, parts.settings.limits, lambda: print("started", flush=True))
    with bind("127.0.0.1", int(sys.argv[1])) as listener, on_signals(server.stop):
        server.run(sockets=[listener])
    print("peers closed" if parts.peers.closed else "peers open", flush=True)
""")


def test_a_port_in_use_is_one_line_that_names_the_setting():
    with bind("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as refused:
            check_port("127.0.0.1", port)
    who = f"{psutil.Process().name()} (process {os.getpid()})"
    assert str(refused.value) == (
        f"serving.port={port}: already in use on 127.0.0.1 by {who}; free it or choose another, e.g. "
        f"serving.port={port + 1}"
    )
    check_port("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"), ("127.0.1", "127.0.0.1"), ("0.0.0.0", "0.0.0.0")],
)
def test_a_host_is_resolved_at_the_start(host, address):
    assert check_port(host, free_port()) == address


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1", "999.1.1.1"])
def test_a_foreign_host_is_one_line_that_names_the_setting(host):
    with pytest.raises(ConfigError, match=f"^serving.host={host}: ") as refused:
        check_port(host, 0)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_serving_with_open_streams_and_the_caller_continues(number):
    port = free_port()
    arguments = [sys.executable, "-c", PROGRAM, str(port)]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "started\n"
            url = f"http://127.0.0.1:{port}"
            with (
                httpx.stream("GET", f"{url}/api/events", timeout=120) as events,
                socket.create_connection(("127.0.0.1", port)),
            ):
                assert events.status_code == 200
                with stopwatch() as watch:
                    process.send_signal(number)
                    assert process.wait(120) == 0
                assert watch.within(5)
            assert process.stdout.readline() == "peers closed\n"
        finally:
            process.kill()
    check_port("127.0.0.1", port)


def test_a_slow_body_is_given_up(listening):
    with socket.create_connection(("127.0.0.1", listening.port)) as slow:
        slow.sendall(
            b"POST /api/prompt HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n{"
        )
        assert slow.recv(200).startswith(b"HTTP/1.1 408 ")


def test_a_declared_length_that_is_too_long_is_refused_before_it_is_read(listening):
    with socket.create_connection(("127.0.0.1", listening.port)) as liar:
        liar.sendall(b"POST /whep HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999\r\n\r\n")
        assert liar.recv(200).startswith(b"HTTP/1.1 413 ")


def test_long_headers_are_refused(listening):
    with socket.create_connection(("127.0.0.1", listening.port)) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: " + b"x" * 200_000)
        assert client.recv(200).startswith(b"HTTP/1.1 400 ")
