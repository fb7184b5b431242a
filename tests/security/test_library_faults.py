"""The faults of aiortc and aioice that `media/aiortc_patches.py` works around, each shown in the library as it is.

When a test here fails with a newer version, its patch is no longer needed: remove both.
"""

import asyncio
import struct

import pytest
from aioice import stun
from aiortc.rtp import RTCP_PSFB_APP, RtcpPsfbPacket

from pp1_orchestrator.media.aiortc_patches import ice_connection
from tests.security.bare_pair import connected, until
from tests.security.udp_attacks import LONG_RTP, SHORT_PRIORITY, Stranger, nack, stun_request

NAMED = 20


def with_pair(scene):
    async def run():
        async with connected() as pair:
            return await scene(pair)

    return asyncio.run(run())


@pytest.mark.parametrize("packet", [b"", LONG_RTP], ids=["empty", "long"])
def test_one_datagram_from_a_stranger_ends_the_transport(packet):
    """`survive_packets` and `GuardedPort`; a report like it, of packets that are too long: aiortc's issue 321."""

    async def scene(pair):
        stranger = Stranger(pair.port)
        await stranger.send(packet)
        await until(lambda: pair.transport.state == "closed")
        stranger.close()

    with_pair(scene)


def test_rtcp_that_is_cut_short_ends_the_transport():
    """`survive_packets`: a REMB that announces more sources than it has."""
    remb = b"REMB" + bytes([5, 0, 0, 0])

    async def scene(pair):
        packet = RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=1, media_ssrc=0, fci=remb)
        await pair.client.transport._send_rtp(bytes(packet))
        await until(lambda: pair.transport.state == "closed")

    with_pair(scene)


def test_whatever_a_stranger_sends_waits_in_a_queue_without_end():
    """`GuardedPort`."""

    async def scene(pair):
        queue, stranger = ice_connection(pair.transport)._queue, Stranger(pair.port)
        assert queue.maxsize == 0
        pair.transport._recv_next = asyncio.Event().wait  # after one more, nothing is taken from the queue
        await stranger.send(b"\x17" + bytes(20), times=NAMED + 1)
        await until(lambda: queue.qsize() >= NAMED)
        stranger.close()

    with_pair(scene)


def test_the_parser_of_stun_raises_what_it_does_not_announce():
    """`GuardedPort`, so that a stranger writes no tracebacks into the log; a report like it: aioice's issue 79."""
    with pytest.raises(struct.error):
        stun.parse_message(SHORT_PRIORITY)


def test_a_stranger_gets_an_answer_to_stun_without_credentials():
    """`GuardedPort`: the answer is longer than the request, and goes wherever that claims to come from."""

    async def scene(pair):
        stranger = Stranger(pair.port)
        await stranger.send(stun_request())
        await until(stranger.heard)
        stranger.close()

    with_pair(scene)


def test_a_packet_is_sent_again_as_often_as_it_is_named():
    """`limit_retransmissions`."""

    async def scene(pair):
        history = getattr(pair.sender, "_RTCRtpSender__rtp_history")  # noqa: B009 - it has no other name
        number = next(iter(history.values())).sequence_number
        sent = []
        send = pair.transport._send_rtp

        async def count(data):
            sent.append(struct.unpack("!H", data[2:4])[0])
            await send(data)

        pair.transport._send_rtp = count
        await pair.client.transport._send_rtp(nack(pair.sender._ssrc, [number], times=NAMED))
        await until(lambda: len(sent) >= NAMED)

    with_pair(scene)
