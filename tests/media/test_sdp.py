"""Offers on paper: limits before parsing, and which candidates are kept."""

import time

import pytest
from aioice.ice import get_host_addresses

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.media.loopback import is_loopback_host
from pp1_orchestrator.media.media_settings import PeerLimits
from pp1_orchestrator.media.sdp import CandidatePolicy, filter_offer

LOCAL, PUBLIC = CandidatePolicy("127.0.0.1").for_viewer(), CandidatePolicy("0.0.0.0").for_viewer()
OWN = get_host_addresses(use_ipv4=True, use_ipv6=True)
"""Of this machine, without loopback."""


def candidate(host="127.0.0.1", transport="udp", component=1, port="50000") -> str:
    return f"a=candidate:1 {component} {transport} 2130706431 {host} {port} typ host"


def offer(*lines: str, sections=("m=video 9 UDP/TLS/RTP/SAVPF 96",)) -> str:
    return "\r\n".join(("v=0", "o=- 1 1 IN IP4 0.0.0.0", *sections, *lines, "a=end-of-candidates")) + "\r\n"


@pytest.mark.parametrize(
    ("sdp", "status", "says"),
    [
        ("", 400, "must start with v="),
        ("hello", 400, "must start with v="),
        ("\x00\ud800", 400, "must start with v="),
        ("v=0\r\n" + "a=x\r\n" * 5000, 413, "16384 bytes"),
        (offer(*[candidate()] * 33), 400, "33 candidates, at most 32"),
        (offer(sections=["m=video 9 X 96"] * 9), 400, "9 media sections, at most 8"),
        (offer("a=candidate:1 1 udp"), 400, "malformed candidate"),
    ],
)
def test_what_is_refused(sdp, status, says):
    with pytest.raises(RequestError, match=says) as refused:
        filter_offer(sdp, PeerLimits(), LOCAL)
    assert refused.value.status == status
    assert "\n" not in str(refused.value)


def test_a_hostile_offer_costs_next_to_nothing():
    sdp = offer(*[candidate(f"10.{i // 250}.{i % 250}.1") for i in range(5000)])
    start = time.process_time()
    with pytest.raises(RequestError):
        filter_offer(sdp, PeerLimits(), LOCAL)
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    ("host", "local", "public"),
    [
        ("127.0.0.1", True, False),
        ("127.9.9.9", True, False),
        ("::1", True, False),
        ("::ffff:127.0.0.1", True, False),
        ("10.1.2.3", False, False),
        ("172.16.0.1", False, False),
        ("192.168.1.4", False, False),
        ("100.64.0.1", False, False),
        ("::ffff:10.1.2.3", False, False),
        ("fc00::1", False, False),
        ("fec0::1", False, False),
        ("2002:7f00:1::", False, False),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False, False),
        ("64:ff9b::7f00:1", False, False),
        ("::7f00:1", False, False),
        ("ff02::1", False, False),
        ("8.8.8.8", False, True),
        ("::ffff:8.8.8.8", False, True),
        ("2a00:1450:4001::1", False, True),
        ("169.254.169.254", False, False),
        ("fe80::1", False, False),
        ("0.0.0.0", False, False),
        ("224.0.0.251", False, False),
        ("255.255.255.255", False, False),
        ("abcd-ef.local", False, False),
        ("metadata.internal", False, False),
        ("", False, False),
    ],
)
def test_candidate_policy(host, local, public):
    assert LOCAL.accepts(host) is local
    assert PUBLIC.accepts(host) is public


@pytest.mark.parametrize("host", OWN)
def test_this_machine_s_own_addresses_are_as_good_as_loopback(host):
    assert LOCAL.accepts(host)
    assert LOCAL.hears(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.1.2.3", "8.8.8.8", "fe80::1%eth0"])
def test_on_a_loopback_bind_only_this_machine_is_heard(host):
    assert LOCAL.hears(host) == host.startswith("127.")
    assert PUBLIC.hears(host)


def test_refused_candidates_and_the_end_mark_are_taken_out_and_the_rest_stays():
    sdp = offer(candidate(), candidate("10.0.0.1"), candidate(transport="tcp"), candidate(component=2), "a=x")
    assert filter_offer(sdp, PeerLimits(), LOCAL) == offer(candidate(), "a=x").replace("a=end-of-candidates\r\n", "")


@pytest.mark.parametrize(
    ("host", "offered"),
    [
        ("127.0.0.1", ["127.0.0.1", *OWN]),
        ("localhost", ["127.0.0.1", *OWN]),
        ("::1", ["::1", *OWN]),
        ("192.168.1.4", ["192.168.1.4"]),
        ("0.0.0.0", None),
        ("::", None),
    ],
)
def test_offered_addresses_follow_the_bind(host, offered):
    assert CandidatePolicy(host).for_viewer().offered == offered


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("10.0.0.1", False), ("box", False)],
)
def test_loopback_hosts(host, loopback):
    assert is_loopback_host(host) is loopback


@pytest.mark.parametrize("port", ["0", "65536", "-1", "9" * 5000, "٥", "x"])
def test_a_candidate_whose_port_is_none_is_taken_out(port):
    sdp = offer(candidate(), candidate(port=port))
    assert filter_offer(sdp, PeerLimits(), LOCAL) == offer(candidate()).replace("a=end-of-candidates\r\n", "")
