"""Nobody makes the server send packets where the policy forbids it: canaries listen where an offer points."""

import asyncio

import psutil
import pytest

from pp1_orchestrator.media.broadcaster import Broadcaster
from pp1_orchestrator.media.media_settings import PeerLimits, VideoSettings
from pp1_orchestrator.media.sdp import CandidatePolicy
from pp1_orchestrator.media.whep import WhepPeers
from tests.fault.sdp_offers import seeds
from tests.media.numbered_frames import SIZE, Counted

CHECKS = 3
"""As many connectivity checks show that the server had time to send to every candidate it took."""
QUIET_S = 2.0


class Canary(asyncio.DatagramProtocol):
    """Counts what arrives at a UDP port."""

    def __init__(self) -> None:
        self.count = 0

    def datagram_received(self, data, addr) -> None:
        self.count += 1


async def listen(host: str) -> tuple[Canary, int, asyncio.DatagramTransport]:
    transport, canary = await asyncio.get_running_loop().create_datagram_endpoint(Canary, local_addr=(host, 0))
    return canary, transport.get_extra_info("sockname")[1], transport


def other_address() -> str | None:
    """An address of this machine that is not loopback."""
    addresses = [a.address for nic in psutil.net_if_addrs().values() for a in nic if a.family.name == "AF_INET"]
    return next((address for address in addresses if not address.startswith("127.")), None)


def offer_with(*candidates: str) -> str:
    lines = [line for line in seeds()[0].splitlines() if not line.startswith("a=candidate")]
    return "\r\n".join(lines + list(candidates)) + "\r\n"


def candidate(host: str, port: int) -> str:
    return f"a=candidate:1 1 udp 2130706431 {host} {port} typ host"


def peers_at(host: str) -> WhepPeers:
    figures = Counted()
    broadcaster = Broadcaster(VideoSettings(SIZE, SIZE, 24), figures)
    return WhepPeers(broadcaster, "vp8", PeerLimits(), CandidatePolicy(host), figures)


def test_a_canary_on_loopback_hears_nothing_from_a_server_that_is_bound_elsewhere():
    async def scene():
        peers = peers_at("0.0.0.0")
        canary, port, transport = await listen("127.0.0.1")
        mapped = [candidate(host, port) for host in ("127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "localhost")]
        await peers.offer(offer_with(*mapped))
        await asyncio.sleep(QUIET_S)
        await peers.close_all()
        transport.close()
        return canary.count

    assert asyncio.run(scene()) == 0


def test_a_server_on_loopback_sends_to_loopback_and_nowhere_else():
    """The same canary does hear from a server that may send to it, so its silence above means something."""
    outside = other_address()

    async def scene():
        peers = peers_at("127.0.0.1")
        inner, inner_port, first = await listen("127.0.0.1")
        outer, outer_port, second = await listen(outside or "127.0.0.2")
        candidates = [candidate("127.0.0.1", inner_port)]
        if outside is not None:
            candidates.insert(0, candidate(outside, outer_port))
        await peers.offer(offer_with(*candidates))
        async with asyncio.timeout(120):
            while inner.count < CHECKS:
                await asyncio.sleep(0.02)
        await peers.close_all()
        for transport in (first, second):
            transport.close()
        return outer.count

    assert asyncio.run(scene()) == 0


@pytest.mark.parametrize("host", ["10.0.0.1", "172.17.0.1", "192.168.1.1", "169.254.169.254", "fe80::1", "fc00::1"])
def test_nothing_is_sent_into_private_networks(host):
    assert not CandidatePolicy("0.0.0.0").accepts(host)
    assert not CandidatePolicy("127.0.0.1").accepts(host)
