"""The video track of one viewer: packets that are encoded already.

One WebRTC viewer: its peer connection, and when it was last heard of.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import av
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from pp1_orchestrator.media import aiortc_patches as hooks
from pp1_orchestrator.media.broadcaster import Broadcaster, PacketQueue
from pp1_orchestrator.media.media_settings import PeerLimits


class PacketTrack(MediaStreamTrack):
    """Subscribes with the first `recv`, that is when the viewer is connected, so that nothing piles up before."""

    kind = "video"

    def __init__(self, broadcaster: Broadcaster, limit: int) -> None:
        super().__init__()
        self._broadcaster, self._limit = broadcaster, limit
        self._queue: PacketQueue | None = None
        self._resting = False

    async def recv(self) -> av.Packet:
        if self.readyState != "live":
            raise MediaStreamError
        if self._queue is None:
            self._queue = self._broadcaster.subscribe(self._limit)
        packet = await self._queue.get()
        if packet is None:
            raise MediaStreamError
        return packet

    def rest(self) -> None:
        """Send nothing until `wake`: nobody seems to be there."""
        if self._queue is not None and not self._resting:
            self._resting = True
            self._broadcaster.pause(self._queue)

    def wake(self) -> None:
        if self._queue is not None and self._resting and self.readyState == "live":
            self._resting = False
            self._broadcaster.resume(self._queue)

    def stop(self) -> None:
        super().stop()
        if self._queue is not None:
            self._broadcaster.unsubscribe(self._queue)


log = logging.getLogger(__name__)
CLOSE_S = 2.0


class Viewer:
    """Answers one offer and sends the stream to whoever made it."""

    def __init__(
        self,
        broadcaster: Broadcaster,
        mime: str,
        limits: PeerLimits,
        addresses: list[str] | None,
        gone: Callable[[], None],
    ) -> None:
        """gone: called once when the connection has failed or closed by itself."""
        self._limits, self._gone = limits, gone
        self._opened_s = time.monotonic()
        self._heard_s: float | None = None
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._track = PacketTrack(broadcaster, limits.packets_queued)
        transceiver = self._connection.addTransceiver(self._track, direction="sendonly")
        codecs = [c for c in RTCRtpSender.getCapabilities("video").codecs if c.mimeType == mime or c.name == "rtx"]
        transceiver.setCodecPreferences(codecs)  # has an effect only before the remote description is set
        hooks.offer_addresses(transceiver.sender, addresses)
        hooks.on_keyframe_request(transceiver.sender, broadcaster.request_keyframe)
        hooks.on_rtcp(transceiver.sender, self._hear)
        self._connection.on("connectionstatechange", self._state_changed)

    async def answer(self, offer: str) -> str:
        """The answer to a checked offer. Raises whatever aiortc makes of a bad one."""
        await self._connection.setRemoteDescription(RTCSessionDescription(sdp=offer, type="offer"))
        await self._connection.setLocalDescription(await self._connection.createAnswer())
        return self._connection.localDescription.sdp

    def stale(self, now_s: float) -> bool:
        """Whether it never connected, or has fallen silent."""
        if self._heard_s is None:
            return now_s - self._opened_s > self._limits.connect_s
        return now_s - self._heard_s > self._limits.silent_s

    def rest_if_silent(self, now_s: float) -> None:
        """Encode and send nothing for a viewer that may be gone; as soon as it is heard of, it goes on."""
        if self._heard_s is not None and now_s - self._heard_s > self._limits.rest_s:
            self._track.rest()

    def forgive(self, stopped_s: float) -> None:
        """Nothing could be heard for so long: it is not the viewer that was silent."""
        self._opened_s += stopped_s
        if self._heard_s is not None:
            self._heard_s += stopped_s

    async def close(self) -> None:
        """Stop sending. Takes 2 s at most."""
        self._track.stop()
        try:
            await asyncio.wait_for(self._connection.close(), CLOSE_S)
        except TimeoutError:
            log.warning("a viewer's connection did not close within %.0f s", CLOSE_S)
        except Exception:  # a viewer's boundary: a connection that can't be closed must not disturb the others
            log.exception("a viewer's connection did not close")

    def _hear(self) -> None:
        self._heard_s = time.monotonic()
        self._track.wake()

    def _state_changed(self) -> None:
        state = self._connection.connectionState
        if state == "connected":
            self._hear()
        elif state in ("failed", "closed"):
            self._gone()
