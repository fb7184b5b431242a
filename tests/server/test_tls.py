"""The server's own TLS: certificates that are refused before anything is loaded, and what is served with one."""

import contextlib
import socket
import ssl
import stat
from dataclasses import replace

import httpx
import pytest
from cryptography.hazmat.primitives import serialization

from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.server import listener
from pp1_orchestrator.server.tls import CERT, KEY, make_pair, tls_context
from tests.server.conftest import LIMITS, Listening, build
from tests.server.test_auth import BEARER, TOKEN

SECURE = "Secure"


def context(folder, cert=CERT, key=KEY):
    return tls_context(None, str(folder / cert), str(folder / key), "127.0.0.1", folder)


@pytest.fixture
def pair(tmp_path):
    make_pair("192.0.2.7", tmp_path)
    return tmp_path


@contextlib.contextmanager
def serving(pair, limits=LIMITS, **options):
    server = Listening(build(token=TOKEN, limits=limits, **options).app, limits=limits, tls=context(pair))
    try:
        yield server
    finally:
        assert server.stop()


def test_page_api_and_events_are_served(pair):
    trust = ssl.create_default_context(cafile=pair / CERT)
    with serving(pair) as server, httpx.Client(base_url=server.url, verify=trust, timeout=120) as client:
        welcome = client.get("/", params={"token": TOKEN})
        assert SECURE in welcome.headers["set-cookie"].split("; ")
        offer = client.post("/whep", content="v=0", headers=BEARER | {"Content-Type": "application/sdp"})
        assert offer.headers["location"].startswith("/whep/")
        with client.stream("GET", "/api/events", headers=BEARER) as events:
            assert next(events.iter_lines()).startswith("retry:")


def test_a_made_key_is_for_its_owner_alone_and_the_certificate_for_every_name_of_this_machine(pair):
    assert stat.S_IMODE((pair / KEY).stat().st_mode) == 0o600
    with serving(pair) as server, socket.create_connection(("127.0.0.1", server.port)) as plain:
        trust = ssl.create_default_context(cafile=pair / CERT)
        with trust.wrap_socket(plain, server_hostname="192.0.2.7") as secured:  # the host it was made for
            certificate = secured.getpeercert()
            assert certificate is not None
            names = {entry[1] for entry in certificate["subjectAltName"]}
            assert secured.version() in ("TLSv1.2", "TLSv1.3")
    assert {"192.0.2.7", "localhost", "127.0.0.1", socket.gethostname()} <= names


def test_a_pair_on_request_is_made_in_the_runs_folder(tmp_path):
    assert tls_context("self_signed", None, None, "127.0.0.1", tmp_path) is not None
    assert {path.name for path in tmp_path.iterdir()} == {CERT, KEY}
    assert tls_context(None, None, None, "127.0.0.1", tmp_path) is None


def test_what_can_not_be_used_is_one_line(pair, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    make_pair("127.0.0.1", other)
    key = serialization.load_pem_private_key((pair / KEY).read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"secret")
    (pair / "locked.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    )
    (pair / "empty.pem").write_bytes(b"")
    wrong = {
        ("missing.pem", KEY): "serving.tls_cert=.*missing.pem: can't be read: No such file",
        (CERT, "."): "serving.tls_key=.*: can't be read: not a file",
        ("/dev/zero", KEY): "serving.tls_cert=/dev/zero: can't be read: not a file",
        (CERT, "empty.pem"): "serving.tls_cert=.*, serving.tls_key=.*: no certificate and key in PEM",
        (CERT, CERT): "no certificate and key in PEM that belong together",
        (CERT, f"other/{KEY}"): r"belong together \(KEY_VALUES_MISMATCH\)",
        (CERT, "locked.pem"): "must not need a passphrase",
    }
    for (cert, key_name), line in wrong.items():
        with pytest.raises(ConfigError, match=line) as refused:
            context(pair, cert, key_name)
        assert "\n" not in str(refused.value)
    for settings, line in (
        ((None, "a.pem", None), "serving.tls_key=null: needed together with serving.tls_cert"),
        ((None, None, "a.pem"), "serving.tls_cert=null: needed together with serving.tls_key"),
        (("self_signed", "a.pem", None), "serving.tls=self_signed: makes a pair"),
        (("self_signed", None, None), "serving.tls=self_signed: .*/nowhere can't be written: No such file"),
    ):
        with pytest.raises(ConfigError, match=line):
            tls_context(*settings, "127.0.0.1", tmp_path / "nowhere")  # pyright: ignore[reportArgumentType] - as given


def test_connections_that_never_shake_hands_keep_nobody_out(pair, monkeypatch):
    monkeypatch.setattr(listener, "HANDSHAKES", 4)
    trust = ssl.create_default_context(cafile=pair / CERT)
    with serving(pair) as server, contextlib.ExitStack() as opened:
        silent = [opened.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(8)]
        assert httpx.get(f"{server.url}/healthz", verify=trust, timeout=120).status_code == 200
        for each in silent:  # the rest end at their deadline
            each.settimeout(LIMITS.header_s + 120)
            assert each.recv(1) == b""
        with socket.create_connection(("127.0.0.1", server.port)) as plain:
            plain.settimeout(120)
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert not plain.recv(100).startswith(b"HTTP")
        assert httpx.get(f"{server.url}/healthz", verify=trust, timeout=120).status_code == 200


def test_handshakes_of_one_address_do_not_end_those_of_another(pair, monkeypatch):
    monkeypatch.setattr(listener, "HANDSHAKES", 4)
    trust = ssl.create_default_context(cafile=pair / CERT)
    with serving(pair, limits=replace(LIMITS, header_s=60)) as server, contextlib.ExitStack() as opened:

        def connect(source: str) -> socket.socket:
            address = ("127.0.0.1", server.port)
            return opened.enter_context(socket.create_connection(address, 120, source_address=(source, 0)))

        slow = connect("127.0.0.2")
        silent = [connect("127.0.0.3") for _ in range(8)]
        assert [client.recv(1) for client in silent[:5]] == [b""] * 5
        with trust.wrap_socket(slow, server_hostname="127.0.0.1") as secured:
            assert secured.version()
