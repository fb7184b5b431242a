"""The video track of one viewer: packets that are encoded already."""

from __future__ import annotations

import av
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from pp1_orchestrator.media.broadcast import Broadcaster
from pp1_orchestrator.media.packets import PacketQueue


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
