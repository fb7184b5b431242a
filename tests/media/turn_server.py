"""A real TURN server (coturn) with one user."""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pp1_orchestrator.media.ice_servers import IceServer
from tests.system.program import free_port, is_listening
from tests.timing import scaled

BINARY = shutil.which("turnserver", path=f"{Path(__file__).parents[2] / '.venv' / 'bin'}:/usr/bin")
USER, CREDENTIAL = "viewer", "a-relay-credential"
START_S = 20


@contextlib.contextmanager
def turn_server(
    host: str = "127.0.0.1", scheme: str = "udp", pair: tuple[Path, Path] | None = None
) -> Iterator[IceServer]:
    """Its address and its user. Skips the test if there is no coturn. scheme: udp or tcp, to the server.

    pair: a certificate and its key, for TLS over TCP and nothing else.
    """
    if BINARY is None:
        pytest.skip("there is no coturn; scripts/setup.sh test fetches it")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        words = [
            BINARY, "-n", "--no-cli", "--no-dtls", "--allow-loopback-peers", "--lt-cred-mech",
            f"--listening-ip={host}", f"--relay-ip={host}", "--realm=test",
            f"--user={USER}:{CREDENTIAL}", f"--userdb={folder}/users", f"--pidfile={folder}/pid", "--log-file=stdout",
        ]  # fmt: skip
        if pair is None:
            words += ["--no-tls", f"--listening-port={port}"]
        else:
            words += ["--no-udp", "--no-tcp", f"--tls-listening-port={port}", f"--cert={pair[0]}", f"--pkey={pair[1]}"]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder)
        try:
            _await(process, host, port)
            url = f"turn:{host}:{port}?transport={scheme}" if pair is None else f"turns:{host}:{port}"
            yield IceServer((url,), USER, CREDENTIAL)
        finally:
            process.kill()
            process.communicate()


def _await(process: subprocess.Popen[str], host: str, port: int) -> None:
    for _ in range(int(scaled(START_S) / 0.05)):
        if is_listening(port, host):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
            raise AssertionError(process.communicate()[0])
    raise AssertionError("coturn does not listen")
