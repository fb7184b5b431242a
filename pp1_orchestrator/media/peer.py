"""One WebRTC viewer: its peer connection, its track of encoded packets, and when it was last heard from."""

import asyncio
import logging
import time
from collections.abc import Callable

from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from pp1_orchestrator.media.aiortc_patches import (
    guard_transports,
    limit_retransmissions,
    on_keyframe_request,
    on_rtcp,
)
from pp1_orchestrator.media.broadcaster import Broadcaster, PacketQueue
from pp1_orchestrator.media.frames import Packet
from pp1_orchestrator.media.media_settings import PeerLimits
from pp1_orchestrator.media.sdp import ViewerAddresses
from pp1_orchestrator.media.viewer_limits import DatagramLimit, RetransmissionLimit
from pp1_orchestrator.media.viewer_quality import QualityReports

log = logging.getLogger(__name__)
CLOSE_S = 2.0


class PacketTrack(MediaStreamTrack):
    """Packets of the stream, from the first `resume` on: none pile up before the viewer is connected."""

    kind = "video"

    def __init__(self, broadcaster: Broadcaster, limit: int) -> None:
        super().__init__()
        self._broadcaster, self._queue = broadcaster, PacketQueue(limit, broadcaster.on_overflow)

    async def recv(self) -> Packet:
        packet = await self._queue.get()
        if packet is None:
            raise MediaStreamError
        return packet

    def pause(self) -> None:
        """Send nothing until `resume`."""
        self._broadcaster.pause(self._queue)

    def resume(self) -> None:
        if self.readyState == "live":
            self._broadcaster.resume(self._queue)

    def stop(self) -> None:
        super().stop()
        self._queue.close()
        self._broadcaster.pause(self._queue)


class Viewer:
    """Answers one offer and sends the stream to the peer that made it.

    mime: the codec's MIME type. on_gone: called when the connection has failed, or was closed by the peer.
    """

    def __init__(
        self,
        broadcaster: Broadcaster,
        mime: str,
        limits: PeerLimits,
        addresses: ViewerAddresses,
        on_gone: Callable[[], None],
    ) -> None:
        self._limits, self._addresses, self._on_gone = limits, addresses, on_gone
        self._heard = False
        self._since_s = time.monotonic()
        """When it was last heard from; before that, when it got its answer."""
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._track = PacketTrack(broadcaster, limits.packets_queued)
        self._transceiver = transceiver = self._connection.addTransceiver(self._track, direction="sendonly")
        codecs = [c for c in RTCRtpSender.getCapabilities("video").codecs if c.mimeType == mime or c.name == "rtx"]
        transceiver.setCodecPreferences(codecs)  # has no effect after the remote description is set
        on_keyframe_request(transceiver.sender, broadcaster.request_keyframe)
        on_rtcp(transceiver.sender, self._on_heard)
        limit_retransmissions(transceiver.sender, RetransmissionLimit(broadcaster.bitrate))
        self.quality = QualityReports(transceiver.sender)
        self._connection.on("connectionstatechange", self._state_changed)

    async def answer(self, offer: str) -> str:
        """The answer to a checked offer of one section. Raises any exception of aiortc's if it can't answer it."""
        await self._connection.setRemoteDescription(RTCSessionDescription(sdp=offer, type="offer"))
        guard_transports(self._connection, self._addresses, DatagramLimit(), self._on_gone)  # before a port is opened
        await self._connection.setLocalDescription(await self._connection.createAnswer())
        self._since_s = time.monotonic()  # it can't connect before: servers that don't answer may have been asked
        return self._connection.localDescription.sdp

    @property
    def is_connected(self) -> bool:
        """Whether it has ever been heard from."""
        return self._heard

    def may_yield(self, now_s: float) -> bool:
        """Whether it has had time to connect, and has not."""
        return not self._heard and now_s - self._since_s >= self._limits.yield_s

    def is_gone(self, now_s: float, suspended_s: float) -> bool:
        """Whether it did not connect in time, or has been silent for too long.

        A viewer that may be gone gets nothing until its next RTCP packet. suspended_s: how long this process was
        suspended since the last call, which does not count as silence.
        """
        self._since_s += suspended_s
        silent_s = now_s - self._since_s
        if not self._heard:
            return silent_s > self._limits.connect_s
        if silent_s > self._limits.rest_s:
            self._track.pause()
        return silent_s > self._limits.silent_s

    async def close(self) -> None:
        """Stop sending. Takes at most CLOSE_S."""
        self._track.stop()
        try:
            await asyncio.wait_for(self._connection.close(), CLOSE_S)
        except TimeoutError:
            log.warning("a viewer's connection did not close within %.0f s", CLOSE_S)
        except Exception:  # a viewer's boundary: a connection that can't be closed must not disturb the others
            log.exception("a viewer's connection did not close")

    def _on_heard(self) -> None:
        self._heard, self._since_s = True, time.monotonic()
        self._track.resume()

    def _state_changed(self) -> None:
        state = self._connection.connectionState
        if state == "connected":
            self._on_heard()
        elif state in ("failed", "closed"):
            self._on_gone()
