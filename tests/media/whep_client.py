"""A WHEP viewer made of aiortc, over loopback, without HTTP: it makes an offer, takes an answer and decodes frames."""

import asyncio
import time
from typing import Any

from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcconfiguration import RTCIceTransportPolicy

from pp1_orchestrator.media import aiortc_patches as hooks
from pp1_orchestrator.media.ice_servers import IceServer

LOOPBACK = ["127.0.0.1"]
WAIT_S = 120


class Client:
    """`numbers`: what is read from each decoded frame by `read`, in order of arrival; `at_s`: when it arrived.

    turn: the only way to this viewer.
    """

    def __init__(self, read, addresses=LOOPBACK, codec: str | None = None, turn: IceServer | None = None) -> None:
        self.numbers: list = []
        self.at_s: list[float] = []
        self._read = read
        self._connection = RTCPeerConnection(_configuration(turn))
        self._reading: asyncio.Task | None = None
        self._connection.on("track", self._start)
        transceiver = self._connection.addTransceiver("video", direction="recvonly")
        if codec is not None:
            known = RTCRtpReceiver.getCapabilities("video")
            assert known is not None
            codecs = known.codecs
            transceiver.setCodecPreferences([each for each in codecs if each.mimeType == codec])
        self.transport = transceiver.receiver.transport
        self._receiver: Any = transceiver.receiver
        hooks.offer_addresses(transceiver.sender, addresses if turn is None else None)

    @property
    def state(self) -> str:
        """Of the peer connection."""
        return self._connection.connectionState

    async def offer(self) -> str:
        await self._connection.setLocalDescription(await self._connection.createOffer())
        return self._connection.localDescription.sdp

    async def take(self, answer: str) -> None:
        await self._connection.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))

    async def wait_frames(self, count: int) -> None:
        async with asyncio.timeout(WAIT_S):
            while len(self.numbers) < count:
                await asyncio.sleep(0.02)

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        await self._connection.close()

    async def vanish(self) -> None:
        """Stop sending anything, without a word to the other side: what a killed browser does."""
        self._receiver._RTCRtpReceiver__rtcp_task.cancel()
        connection = self._receiver.transport.transport.iceGatherer._connection
        for protocol in connection._protocols:
            protocol.transport.abort()

    def deafen(self) -> None:
        """Read nothing any more, but go on saying that it is there, as a tab that its browser has put to sleep."""
        loop: Any = asyncio.get_running_loop()
        connection = self._receiver.transport.transport.iceGatherer._connection
        for protocol in connection._protocols:
            loop._remove_reader(protocol.transport.get_extra_info("socket").fileno())

    def _start(self, track) -> None:
        self._reading = asyncio.ensure_future(self._read_all(track))

    async def _read_all(self, track) -> None:
        try:
            while True:
                frame = await track.recv()
                self.numbers.append(self._read(frame.to_ndarray(format="rgb24")))
                self.at_s.append(time.monotonic())
        except MediaStreamError:
            return


def _configuration(turn: IceServer | None) -> RTCConfiguration:
    if turn is None:
        return RTCConfiguration(iceServers=[])
    server = RTCIceServer(list(turn.urls), turn.username, turn.credential)
    return RTCConfiguration(iceServers=[server], iceTransportPolicy=RTCIceTransportPolicy.RELAY)
