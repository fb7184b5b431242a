"""Two of aiortc's peers over loopback, one sends, the other watches: the library as it is, but for the addresses."""

import asyncio
import contextlib

from aiortc import RTCConfiguration, RTCDtlsTransport, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import VideoStreamTrack

from pp1_orchestrator.media.aiortc_patches import ice_connection, offer_addresses
from tests.media.whep_client import LOOPBACK, Client

WAIT_S = 120


async def until(predicate) -> None:
    async with asyncio.timeout(WAIT_S):
        while not predicate():
            await asyncio.sleep(0.01)


class BarePair:
    """`sender` and `transport` of the sending side, which has one connection."""

    def __init__(self) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.sender: RTCRtpSender = self.connection.addTransceiver(VideoStreamTrack(), direction="sendonly").sender
        self.transport: RTCDtlsTransport = self.sender.transport
        self.client = Client(lambda frame: 0)
        offer_addresses(self.sender, LOOPBACK)

    @property
    def port(self) -> int:
        """UDP port of the sending side."""
        return ice_connection(self.transport)._protocols[0].local_candidate.port

    async def connect(self) -> None:
        offer = RTCSessionDescription(await self.client.offer(), "offer")
        await self.connection.setRemoteDescription(offer)
        await self.connection.setLocalDescription(await self.connection.createAnswer())
        await self.client.take(self.connection.localDescription.sdp)
        await self.client.wait_frames(2)

    async def close(self) -> None:
        await self.client.close()
        await self.connection.close()


@contextlib.asynccontextmanager
async def connected():
    pair = BarePair()
    try:
        await pair.connect()
        yield pair
    finally:
        await pair.close()
