"""What a viewer's reports say: losses add up, and a viewer can't have lost more than it was sent."""

import asyncio

import pytest
from aiortc import RTCPeerConnection
from aiortc.rtp import RtcpReceiverInfo, RtcpRrPacket

from pp1_orchestrator.media.viewer_quality import QualityReports

SENT = 100


def lost(claimed: list[int]) -> list[int]:
    """What is counted after each report of so many lost packets in all."""

    async def scene() -> list[int]:
        connection = RTCPeerConnection()
        sender = connection.addTransceiver("video").sender
        sender._RTCRtpSender__packet_count = SENT  # pyright: ignore[reportAttributeAccessIssue] - it has no other name
        reports, counted = QualityReports(sender), list[int]()
        for count in claimed:
            info = RtcpReceiverInfo(sender._ssrc, 0, count, 0, 0, 0, 0)
            await sender._handle_rtcp_packet(RtcpRrPacket(ssrc=1, reports=[info]))
            quality = await reports.take()
            assert quality is not None
            counted.append(quality.lost)
        await connection.close()
        return counted

    return asyncio.run(scene())


@pytest.mark.parametrize(
    ("claimed", "counted"),
    [([3, 5, 5], [3, 2, 0]), ([5, 3, 6], [5, 0, 1]), ([8_000_000, 10], [SENT, 0]), ([-8_000_000, 1], [0, 1])],
)
def test_losses_are_counted_once_and_never_more_than_was_sent(claimed, counted):
    assert lost(claimed) == counted
