"""What may be configured as an ICE server, which of its addresses are asked, and how clients are told."""

import msgspec
import pytest

from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.media.ice_servers import MAX_URLS, IceServer, IceUrl, check_ice_servers, parse_url
from pp1_orchestrator.media.sdp import CandidatePolicy

SECRET = "swordfish-and-more"
EXPECTED = "stun:HOST, stun:HOST:PORT, turn:HOST:PORT?transport=udp (or tcp) or turns:HOST:PORT"


@pytest.mark.parametrize(
    ("url", "parsed"),
    [
        ("stun:stun.example.org", IceUrl("stun", "stun.example.org", 3478, "udp")),
        ("stun:192.0.2.1:19302", IceUrl("stun", "192.0.2.1", 19302, "udp")),
        ("turn:turn.example.org", IceUrl("turn", "turn.example.org", 3478, "udp")),
        ("turn:turn.example.org:80?transport=tcp", IceUrl("turn", "turn.example.org", 80, "tcp")),
        ("turns:turn.example.org", IceUrl("turns", "turn.example.org", 5349, "tcp")),
        ("turn:[2001:db8::1]:3479", IceUrl("turn", "2001:db8::1", 3479, "udp")),
    ],
)
def test_an_address_has_the_parts_of_its_rfc(url, parsed):
    assert parse_url(url) == parsed


@pytest.mark.parametrize(
    ("server", "line"),
    [
        (((), None, None), f"[0].urls: is empty; expected addresses such as {EXPECTED}"),
        (
            (("http://example.org",), None, None),
            "[0].urls: 'http://example.org': no address of a STUN or TURN server; expected addresses such as "
            + EXPECTED,
        ),
        (
            (("stun:example.org?transport=tcp",), None, None),
            "[0].urls: 'stun:example.org?transport=tcp': no address of a STUN or TURN server; expected addresses such "
            f"as {EXPECTED}",
        ),
        (
            (("stun:example.org:70000",), None, None),
            "[0].urls: 'stun:example.org:70000': the port must be from 1 to 65535; expected addresses such as "
            + EXPECTED,
        ),
        (
            ((f"turn:me:{SECRET}@example.org",), None, None),
            f"[0].urls: no address of a STUN or TURN server; expected addresses such as {EXPECTED}",
        ),
        (
            (("turn:example.org",), None, SECRET),
            "[0].username: is missing; a TURN server needs username and credential",
        ),
        (
            (("turn:example.org",), "me", ""),
            "[0].credential: is missing; a TURN server needs username and credential",
        ),
        (
            (("turn:example.org",), "me", f"{SECRET}\r\nSet-Cookie: x"),
            "[0].credential: expected up to 512 printable characters of ASCII",
        ),
        (
            (("turn:example.org",), "mé", SECRET),
            "[0].username: expected up to 512 printable characters of ASCII",
        ),
        (
            (("stun:example.org",) * (MAX_URLS + 1), None, None),
            f": {MAX_URLS + 1} addresses; at most {MAX_URLS} are possible",
        ),
    ],
)
def test_what_can_not_be_one_is_one_line_without_the_credential(server, line):
    with pytest.raises(ConfigError) as refused:
        check_ice_servers([server])
    assert str(refused.value) == f"serving.ice_servers{line}"
    assert SECRET not in str(refused.value)


def test_of_each_server_the_first_address_of_a_kind_is_asked():
    urls = "turns:a.example?transport=udp", "turn:b.example?transport=tcp", "stun:c.example", "stun:d.example"
    server = IceServer((*urls, "turn:e.example"), "me", SECRET)
    assert [url.host for url in server.asked(only_relays=False)] == ["c.example", "b.example"]
    assert [url.host for url in server.asked(only_relays=True)] == ["b.example"]


def test_a_link_tells_each_address_and_quotes_what_needs_it():
    server = IceServer(("stun:a.example", "turn:a.example"), 'a "b"', "c\\d")
    assert server.links() == [
        '<stun:a.example>; rel="ice-server"',
        '<turn:a.example>; rel="ice-server"; username="a \\"b\\""; credential="c\\\\d"; credential-type="password"',
    ]


def test_a_credential_travels_to_the_media_process_and_is_in_no_printed_form():
    policy = CandidatePolicy("127.0.0.1", (IceServer(("turn:a.example",), "me", SECRET),))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(policy), type=CandidatePolicy) == policy
    assert SECRET not in repr(policy)
