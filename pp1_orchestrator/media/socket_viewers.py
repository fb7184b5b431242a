"""Viewers that get the encoded packets as messages over one TCP connection, for where no UDP passes.

Knows nothing of HTTP or WebSockets. Belongs to one event loop.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.media.broadcaster import PacketQueue
from pp1_orchestrator.media.encoder import CODECS
from pp1_orchestrator.media.frames import Packet
from pp1_orchestrator.media.loopback import is_loopback_host
from pp1_orchestrator.media.media_settings import CLOCK_RATE, PeerLimits, VideoSettings
from pp1_orchestrator.telemetry.metrics import Metrics
from pp1_orchestrator.types import Limited

HEADER = struct.Struct(">B3xIQ")
"""Before each packet: flags, the packet's number, and its time in microseconds."""
KEYFRAME = 1
"""The flag of a packet that can be decoded without those before it."""
REPORT = struct.Struct(">I")
"""A viewer's message: the number of the newest packet that it has shown."""
NUMBERS = 1 << 32


class PacketSource(Protocol):
    """A broadcaster, in this process or in front of another one."""

    def resume(self, queue: PacketQueue) -> None: ...

    def pause(self, queue: PacketQueue) -> None: ...

    def on_overflow(self, count: int) -> None: ...


class SocketViewer:
    """One viewer: what is sent to it, and how far behind it is.

    At most `limits.packets_unreported` packets are on their way. A viewer that is further behind gets nothing until it
    reports; its queue then drops to the next keyframe, however much proxies and kernels between would have buffered.
    """

    def __init__(self, broadcaster: PacketSource, limits: PeerLimits) -> None:
        self._broadcaster, self._limits = broadcaster, limits
        self._queue = PacketQueue(limits.packets_queued, broadcaster.on_overflow)
        self._sent = self._shown = 0
        """How many packets were sent, and how many of them are known to have been shown."""
        self._reported = asyncio.Event()
        self._closed = False

    async def messages(self) -> AsyncIterator[bytes]:
        """One for each packet, from the next keyframe on; ends with `close`."""
        self._broadcaster.resume(self._queue)
        while (packet := await self._queue.get()) is not None:
            self._sent += 1
            yield as_message(packet, self._sent - 1)
            while self._sent - self._shown >= self._limits.packets_unreported:
                await self._wait_for_report()

    def report(self, message: bytes) -> None:
        """Take a viewer's message. Raises RequestError 400 for one that is not a report, or of a packet not sent."""
        if len(message) != REPORT.size:
            raise RequestError(f"a report has {REPORT.size} bytes: the number of the newest packet shown", status=400)
        ahead = (self._sent - REPORT.unpack(message)[0]) % NUMBERS  # packets sent after that one, and itself
        if not 0 < ahead <= self._sent:
            raise RequestError("a report names a packet that was not sent", status=400)
        self._shown = max(self._shown, self._sent - ahead + 1)
        self._reported.set()

    def close(self) -> None:
        """End `messages`."""
        self._closed = True
        self._queue.close()
        self._broadcaster.pause(self._queue)
        self._shown = self._sent
        self._reported.set()

    async def _wait_for_report(self) -> None:
        """For a viewer that keeps silent for long, no keyframes are made in vain."""
        self._reported.clear()
        try:
            async with asyncio.timeout(self._limits.rest_s):
                await self._reported.wait()
        except TimeoutError:
            self._broadcaster.pause(self._queue)
            await self._reported.wait()
            if not self._closed:
                self._broadcaster.resume(self._queue)


def as_message(packet: Packet, number: int) -> bytes:
    """The packet with its header."""
    time_us = round((packet.pts or 0) * 1_000_000 / CLOCK_RATE)
    flags = KEYFRAME if packet.is_keyframe else 0
    return HEADER.pack(flags, number % NUMBERS, time_us) + bytes(packet)


class SocketViewers:
    """All of these viewers, within the limits that they share with those of WebRTC.

    others: the addresses of the viewers that come another way.
    """

    def __init__(
        self,
        broadcaster: PacketSource,
        video: VideoSettings,
        limits: PeerLimits,
        metrics: Metrics,
        others: Callable[[], list[str]],
    ) -> None:
        self._broadcaster, self._video, self._limits = broadcaster, video, limits
        self._metrics, self._others = metrics, others
        self._viewers: dict[SocketViewer, str] = {}
        """Each viewer with its address."""

    @property
    def count(self) -> int:
        return len(self._viewers)

    @property
    def addresses(self) -> list[str]:
        """Of all viewers, one for each place that is taken."""
        return list(self._viewers.values())

    @property
    def silent_s(self) -> float:
        """How long a viewer may go without a report."""
        return self._limits.silent_s

    def config(self) -> dict[str, object]:
        """What a decoder needs before the first packet."""
        video = self._video
        size = {"width": video.width, "height": video.height}
        return {"type": "config", "codec": CODECS[video.codec].webcodecs, **size, "fps": video.fps}

    def add(self, address: str) -> SocketViewer:
        """Admit a viewer. Raises RequestError 503 when a limit is reached."""
        limits, taken = self._limits, [*self._others(), *self.addresses]
        if not is_loopback_host(address) and taken.count(address) >= limits.viewers_per_address:
            raise self._refusal("address", f"all {limits.viewers_per_address} viewer places of one address are taken")
        if len(taken) >= limits.viewers:
            raise self._refusal("viewers", f"all {limits.viewers} viewer places are taken")
        viewer = SocketViewer(self._broadcaster, limits)
        self._viewers[viewer] = address
        self._metrics.viewers(self.count, "websocket")
        return viewer

    def remove(self, viewer: SocketViewer) -> None:
        viewer.close()
        self._viewers.pop(viewer, None)
        self._metrics.viewers(self.count, "websocket")

    def close_all(self) -> None:
        """End the messages of all viewers."""
        for viewer in self._viewers:
            viewer.close()

    def _refusal(self, limit: Limited, line: str) -> RequestError:
        self._metrics.limited(limit)
        return RequestError(line, status=503)
