"""What arrives at a viewer's UDP port, from strangers and from viewers that mean harm: all others go on watching."""

import asyncio
import logging
import struct
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from aioice.ice import get_host_addresses
from aiortc.rtp import RTCP_PSFB_APP, RtcpByePacket, RtcpPsfbPacket, RtcpReceiverInfo, RtcpRrPacket

from pp1_orchestrator.media.aiortc_patches import QUEUED, ice_connection
from pp1_orchestrator.processes.log_setup import FloodFilter
from tests.media.numbered_frames import read_number
from tests.media.test_whep import play
from tests.media.whep_client import Client
from tests.security.attacked_stream import FEW, attack, port_of, server_side
from tests.security.udp_attacks import (
    ALERT,
    CLIENT_HELLO,
    JUNK,
    LONG_RTP,
    Stranger,
    check_with_password,
    many_fingerprints,
    nack,
    stun_request,
)

MANY = 60


@pytest.fixture
def complaints(caplog, monkeypatch) -> Callable[[], list[str]]:
    """What is logged of them, through the filter that the program has."""
    monkeypatch.setattr(caplog.handler, "filters", [FloodFilter()])
    return lambda: [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_stranger_is_not_heard_whatever_it_sends(complaints):
    async def scene(watched):
        stranger = Stranger(port_of(watched.connection))
        async with watched.undisturbed():
            await stranger.send(*JUNK.values(), times=MANY)
        await watched.still_watches()
        heard = stranger.heard()
        stranger.close()
        return heard

    assert attack(scene) == 0
    assert len(complaints()) <= 1


def test_a_stranger_without_the_ice_password_gets_nothing_at_any_address_of_the_machine():
    """No DTLS, no media, no answer: a server that is bound to loopback has ports at the machine's other addresses."""

    async def scene(watched):
        ice = watched.connection
        username = f"{ice.local_username}:{ice.remote_username}"
        check = check_with_password(username, "not the password")
        candidates = [protocol.local_candidate for protocol in ice._protocols]
        strangers = [Stranger(each.port, each.host) for each in candidates]
        async with watched.undisturbed():
            for stranger in strangers:
                await stranger.send(check, CLIENT_HELLO, *JUNK.values(), CLIENT_HELLO, check)
        await watched.still_watches()
        heard = sum(stranger.heard() for stranger in strangers)
        knowing = Stranger(candidates[0].port, candidates[0].host)
        async with asyncio.timeout(120):
            while not (answers := knowing.heard()):
                await knowing.send(check_with_password(username, ice.local_password))
                await asyncio.sleep(0.02)
        for stranger in (knowing, *strangers):
            stranger.close()
        return {each.host for each in candidates}, heard, answers

    hosts, heard, answers = attack(scene)
    assert hosts == {"127.0.0.1", *get_host_addresses(use_ipv4=True, use_ipv6=True)}
    assert heard == 0
    assert answers > 0


def test_a_message_that_takes_long_to_parse_is_not_parsed():
    async def scene(watched):
        stranger, packet = Stranger(port_of(watched.connection)), many_fingerprints()
        async with watched.undisturbed():
            await stranger.send(packet, times=MANY)
        await watched.still_watches()
        stranger.close()

    attack(scene)


def odd_rtcp(ssrc: int) -> Iterator[bytes]:
    """RTCP of a viewer that means harm: right in its form, or nearly."""
    yield bytes(RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=1, media_ssrc=0, fci=b"REMB" + bytes([255, 0, 0, 0])))
    yield bytes(
        RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=1, media_ssrc=ssrc, fci=b"REMB\x01\xff\xff\xff" + ssrc.to_bytes(4))
    )
    report = RtcpReceiverInfo(ssrc, 255, -1, 2**32 - 1, 2**32 - 1, 2**32 - 1, 2**32 - 1)
    yield bytes(RtcpRrPacket(ssrc=1, reports=[report] * 31))
    yield bytes(RtcpByePacket(sources=[ssrc] * 31))
    yield b"\x80\xc9\x00\x01\x00\x00\x00\x01" * 150
    yield b"\x81\xca\x00\x00" * 300
    yield b"\x8f\xcc\x00\x01abcd"
    yield b"\xa1\xcd\x00\x03" + bytes(8) + b"\x00\x00\x00\xff"
    yield b"\x8f\xcd" + struct.pack("!HII", 302, 1, ssrc) + b"\xff" * 1200
    yield b"\x9f\xc8\x00\x01abcd"


def test_rtcp_that_makes_no_sense_is_ignored(complaints):
    async def scene(watched):
        async with watched.undisturbed():
            for _ in range(4):
                for packet in odd_rtcp(watched.sender._ssrc):
                    await watched.victim.transport._send_rtp(packet)
                await asyncio.sleep(0.01)
        await watched.still_watches()

    attack(scene)
    assert len(complaints()) <= 1


def test_what_is_no_packet_is_ignored_from_a_viewer_too(complaints):
    async def scene(watched):
        own = ice_connection(watched.victim.transport)
        for packet in (*JUNK.values(), ALERT, CLIENT_HELLO):
            await own.send(packet)
        await watched.still_watches()

    attack(scene)
    assert len(complaints()) <= 1


def test_a_flood_of_a_viewer_costs_the_others_nothing_and_fills_no_queue():
    async def scene(watched):
        deepest = 0
        everything = [*odd_rtcp(watched.sender._ssrc), nack(watched.sender._ssrc, list(range(0, 160, 17)), times=25)]
        async with watched.undisturbed():
            for n in range(2000):
                await watched.victim.transport._send_rtp(everything[n % len(everything)])
                if n % 8 == 0:
                    await asyncio.sleep(0.001)
                    deepest = max(deepest, watched.connection._queue.qsize())
        return deepest

    assert attack(scene) <= QUEUED


def test_what_waits_to_be_handled_is_bounded():
    async def scene(watched):
        watched.transport._recv_next = asyncio.Event().wait  # after one more, nothing is taken from the queue
        for n in range(4 * QUEUED):
            await watched.victim.transport._send_rtp(bytes(RtcpRrPacket(ssrc=1)))
            if n % 8 == 0:
                await asyncio.sleep(0.002)
        await watched.other.wait_frames(len(watched.other.numbers) + FEW)
        return watched.connection._queue.qsize()

    assert attack(scene) == QUEUED


@pytest.mark.parametrize("attempt", range(3))
def test_a_port_that_is_flooded_before_dtls_is_up_connects_its_viewer(attempt):
    async def flood(stranger):
        while True:
            await stranger.send(CLIENT_HELLO, ALERT, b"", LONG_RTP, stun_request())

    async def scene(stream):
        client = Client(read_number)
        viewer_id, answer = await stream.peers.offer(await client.offer())
        stranger = Stranger(port_of(server_side(stream, viewer_id)[2]))
        flooding = asyncio.ensure_future(flood(stranger))
        await asyncio.sleep(0.05)
        await client.take(answer)
        await client.wait_frames(FEW)
        flooding.cancel()
        await asyncio.wait([flooding])
        stranger.close()
        await client.close()

    play(scene)


def test_a_viewer_whose_transport_fails_is_closed_and_told():
    async def scene(watched):
        def broken(data):  # a fault of the program itself, which no packet should find
            raise RuntimeError("broken")

        watched.transport._rx_srtp = SimpleNamespace(unprotect_rtcp=broken)
        await watched.stream.until(lambda: watched.stream.peers.count == 1)
        await watched.stream.until(lambda: watched.victim.transport.state == "closed")
        await watched.other.wait_frames(len(watched.other.numbers) + FEW)

    attack(scene)
