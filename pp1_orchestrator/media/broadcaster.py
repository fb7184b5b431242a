"""Encodes the stream once and distributes the packets to all viewers. Knows nothing of WebRTC.

`show` is called on the pacer's thread. Everything else belongs to the event loop that serves the viewers.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable

from pp1_orchestrator.media.encoder import LiveEncoder
from pp1_orchestrator.media.frames import Frame, Packet, to_yuv420p
from pp1_orchestrator.media.media_settings import VideoSettings
from pp1_orchestrator.types import ViewerMetrics


class PacketQueue:
    """One viewer's packets, bounded and always decodable: it starts at a keyframe, and after an overflow at the next.

    on_overflow: called with the number of packets that were dropped. The viewer then needs a keyframe.
    """

    def __init__(self, limit: int, on_overflow: Callable[[int], None]) -> None:
        self._limit, self._on_overflow = limit, on_overflow
        self._packets: deque[Packet] = deque()
        self._available = asyncio.Event()
        self._closed = False
        self.needs_keyframe = True

    def __len__(self) -> int:
        return len(self._packets)

    def push(self, packet: Packet) -> None:
        if len(self._packets) >= self._limit:
            dropped = len(self._packets)
            self.clear()
            self._on_overflow(dropped)
        if self.needs_keyframe and not packet.is_keyframe:
            return
        self.needs_keyframe = False
        self._packets.append(packet)
        self._available.set()

    async def get(self) -> Packet | None:
        """The next packet; None once the queue is closed."""
        while not self._closed:
            if self._packets:
                return self._packets.popleft()
            self._available.clear()
            await self._available.wait()
        return None

    def clear(self) -> None:
        """Drop all packets. The next one that is accepted is a keyframe."""
        self._packets.clear()
        self.needs_keyframe = True

    def close(self) -> None:
        self._closed = True
        self._available.set()


class Broadcaster:
    """A FrameConsumer for any number of viewers. Without a viewer there is no encoder, and nothing is done.

    on_watched: called on the event loop when the first viewer comes and when the last one has gone.
    """

    def __init__(
        self, settings: VideoSettings, metrics: ViewerMetrics, on_watched: Callable[[bool], None] = lambda _: None
    ) -> None:
        self._settings, self._metrics, self._on_watched = settings, metrics, on_watched
        self._encoder: LiveEncoder | None = None
        self._queues: set[PacketQueue] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._keyframe_wanted = threading.Event()
        self._keyframe_at_s = float("-inf")

    @property
    def bitrate(self) -> int:
        """Of the stream, bits a second."""
        return self._settings.bitrate

    def show(self, frame: Frame, at_s: float) -> None:
        loop = self._loop
        if loop is None or not self._queues:
            return
        keyframe, start_s = self._keyframe_due(at_s), time.monotonic()
        encoder = self._encoder = self._encoder or LiveEncoder(self._settings)
        packets = encoder.encode(to_yuv420p(frame), at_s, keyframe)
        self._metrics.encoded(self._settings.codec, time.monotonic() - start_s, sum(packet.size for packet in packets))
        if keyframe or any(packet.is_keyframe for packet in packets):
            self._keyframe_at_s = at_s
        try:
            loop.call_soon_threadsafe(self._fan_out, packets)
        except RuntimeError:  # the event loop is closed, so there are no viewers
            self._loop = None

    def resume(self, queue: PacketQueue) -> None:
        """Fill a viewer's queue from the next keyframe on, which is requested here. Does nothing if it is filled."""
        self._loop = asyncio.get_running_loop()
        if queue not in self._queues:
            self._queues.add(queue)
            self.request_keyframe()
            if len(self._queues) == 1:
                self._on_watched(True)

    def pause(self, queue: PacketQueue) -> None:
        """Empty the queue, and don't fill it until `resume`."""
        queue.clear()
        if queue in self._queues:
            self._queues.remove(queue)
            if not self._queues:
                self._encoder = None
                self._on_watched(False)

    def request_keyframe(self) -> None:
        """Make a keyframe soon. Requests within `keyframe_throttle_s` share one."""
        self._keyframe_wanted.set()

    def _keyframe_due(self, at_s: float) -> bool:
        throttled = at_s - self._keyframe_at_s < self._settings.keyframe_throttle_s
        if throttled or not self._keyframe_wanted.is_set():
            return False
        self._keyframe_wanted.clear()
        return True

    def _fan_out(self, packets: list[Packet]) -> None:
        for packet in packets:
            for queue in self._queues:
                queue.push(packet)
        self._metrics.queue_depth("packets", max(map(len, self._queues), default=0))

    def on_overflow(self, count: int) -> None:
        """For `PacketQueue`."""
        self._metrics.frames_dropped("slow_viewer", count)
        self.request_keyframe()
