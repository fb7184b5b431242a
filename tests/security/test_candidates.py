"""Nobody makes the server send packets where the policy forbids it: canaries listen where an offer points."""

import asyncio
from dataclasses import replace

import pytest
from aioice.ice import get_host_addresses

from pp1_orchestrator.media.broadcaster import Broadcaster
from pp1_orchestrator.media.media_settings import PeerLimits, VideoSettings
from pp1_orchestrator.media.sdp import CandidatePolicy, ViewerAddresses
from pp1_orchestrator.media.whep import WhepPeers
from tests.fault.sdp_offers import seeds
from tests.media.numbered_frames import SIZE, Counted, read_number
from tests.media.test_whep import play
from tests.media.whep_client import Client

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


OWN = get_host_addresses(use_ipv4=True, use_ipv6=False)
"""Of this machine, without loopback."""


class AsOnAnotherMachine(CandidatePolicy):
    """Takes this machine's addresses, but for loopback, for those of another one."""

    def for_viewer(self) -> ViewerAddresses:
        return replace(super().for_viewer(), own=frozenset())


def offer_with(*candidates: str) -> str:
    lines = [line for line in seeds()[0].splitlines() if not line.startswith("a=candidate")]
    return "\r\n".join(lines + list(candidates)) + "\r\n"


def candidate(host: str, port: int) -> str:
    return f"a=candidate:1 1 udp 2130706431 {host} {port} typ host"


def peers_at(policy: CandidatePolicy) -> WhepPeers:
    figures = Counted()
    broadcaster = Broadcaster(VideoSettings(SIZE, SIZE, 24), figures)
    return WhepPeers(broadcaster, "vp8", PeerLimits(), policy, figures)


def test_a_canary_on_loopback_hears_nothing_from_a_server_that_is_bound_elsewhere():
    async def scene():
        peers = peers_at(CandidatePolicy("0.0.0.0"))
        canary, port, transport = await listen("127.0.0.1")
        mapped = [candidate(host, port) for host in ("127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "localhost")]
        await peers.offer(offer_with(*mapped))
        await asyncio.sleep(QUIET_S)
        await peers.close_all()
        transport.close()
        return canary.count

    assert asyncio.run(scene()) == 0


@pytest.mark.parametrize("outside", OWN[:1])
def test_a_server_on_loopback_sends_to_this_machine_and_nowhere_else(outside):
    """The same canary does hear from a server that may send to it, so its silence above means something."""

    async def scene():
        peers = peers_at(AsOnAnotherMachine("127.0.0.1"))
        inner, inner_port, first = await listen("127.0.0.1")
        outer, outer_port, second = await listen(outside)
        await peers.offer(offer_with(candidate(outside, outer_port), candidate("127.0.0.1", inner_port)))
        async with asyncio.timeout(120):
            while inner.count < CHECKS:
                await asyncio.sleep(0.02)
        await peers.close_all()
        for transport in (first, second):
            transport.close()
        return outer.count

    assert asyncio.run(scene()) == 0


@pytest.mark.parametrize("outside", OWN[:1])
def test_a_viewer_on_another_machine_that_has_the_answer_of_a_server_on_loopback_is_not_heard(outside):
    """Not even with the ICE password, which it has from the answer."""

    async def scene(stream):
        client = Client(read_number, [outside])
        _, answer = await stream.peers.offer(await client.offer())
        await client.take("".join(line for line in answer.splitlines(True) if " 127.0.0.1 " not in line))
        await stream.until(lambda: stream.peers.count == 0)
        state, numbers = client.state, client.numbers
        await client.close()
        return state, numbers

    state, numbers = play(scene, policy=AsOnAnotherMachine("127.0.0.1"))
    assert state != "connected"
    assert numbers == []


@pytest.mark.parametrize("host", ["10.0.0.1", "172.17.0.1", "192.168.1.1", "169.254.169.254", "fe80::1", "fc00::1"])
def test_nothing_is_sent_into_private_networks(host):
    assert not CandidatePolicy("0.0.0.0").for_viewer().accepts(host)
    assert not CandidatePolicy("127.0.0.1").for_viewer().accepts(host)
