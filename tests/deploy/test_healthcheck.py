"""The images' health check against a real server, with and without TLS."""

import subprocess
import sys

import pytest

from deploy.__main__ import ROOT
from pp1_orchestrator.server.tls import tls_context
from tests.server.conftest import Listening, build
from tests.system.program import free_port


def check(port: int) -> int:
    words = [sys.executable, ROOT / "deploy/healthcheck.py", str(port)]
    return subprocess.run(words, capture_output=True, timeout=120, check=False).returncode


@pytest.mark.parametrize("tls", [False, True])
def test_it_says_what_healthz_says(tmp_path, tls):
    parts = build(token="health needs none")
    made = tls_context("self_signed" if tls else None, None, None, "127.0.0.1", tmp_path)
    server = Listening(parts.app, tls=made)
    try:
        healthy = check(server.port)
        parts.stream.is_alive = False
        assert (healthy, check(server.port)) == (0, 1)
    finally:
        assert server.stop()


def test_nobody_is_not_healthy():
    assert check(free_port()) == 1
