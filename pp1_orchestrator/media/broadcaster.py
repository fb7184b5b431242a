"""Encodes the stream once and hands the packets to every viewer. Knows nothing of WebRTC.

`present` is called on the pacer's thread; everything else belongs to the event loop that serves the viewers.

A viewer's bounded queue of encoded packets. Belongs to the event loop's thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable

import av

from pp1_orchestrator.media.encoder import LiveEncoder
from pp1_orchestrator.media.frames import Picture, to_yuv420p
from pp1_orchestrator.media.media_settings import MediaFigures, VideoSettings


class PacketQueue:
    """Packets for one viewer, always decodable: starts at a keyframe, and goes on at one after an overflow."""

    def __init__(self, limit: int, on_skip: Callable[[int], None]) -> None:
        """on_skip(count): so many packets of this viewer were dropped; it waits for a keyframe now."""
        self._limit, self._on_skip = limit, on_skip
        self._packets: deque[av.Packet] = deque()
        self._arrived = asyncio.Event()
        self._needs_keyframe = True
        self._closed = False

    def __len__(self) -> int:
        return len(self._packets)

    @property
    def needs_keyframe(self) -> bool:
        return self._needs_keyframe

    def push(self, packet: av.Packet) -> None:
        if self._closed:
            return
        if len(self._packets) >= self._limit:
            dropped = len(self._packets)
            self.clear()
            self._on_skip(dropped)
        if self._needs_keyframe and not packet.is_keyframe:
            return
        self._needs_keyframe = False
        self._packets.append(packet)
        self._arrived.set()

    async def get(self) -> av.Packet | None:
        """The next packet; None once the queue is closed."""
        while not self._closed:
            if self._packets:
                return self._packets.popleft()
            self._arrived.clear()
            await self._arrived.wait()
        return None

    def clear(self) -> None:
        """Forget what waits; what comes next begins with a keyframe."""
        self._packets.clear()
        self._needs_keyframe = True

    def close(self) -> None:
        self._closed = True
        self._packets.clear()
        self._arrived.set()


class Broadcaster:
    """A Screen for any number of viewers. Nothing is converted or encoded while nobody watches."""

    def __init__(self, settings: VideoSettings, figures: MediaFigures) -> None:
        self._settings, self._figures = settings, figures
        self._encoder = LiveEncoder(settings)
        self._queues: set[PacketQueue] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watched = threading.Event()
        self._keyframe_wanted = threading.Event()
        self._keyframe_at_s = float("-inf")

    def present(self, picture: Picture, at_s: float) -> None:
        loop = self._loop
        if loop is None or not self._watched.is_set():
            return
        keyframe = self._keyframe_due(at_s)
        packets = self._encoder.encode(to_yuv420p(picture), at_s, keyframe)
        if keyframe or any(packet.is_keyframe for packet in packets):
            self._keyframe_at_s = at_s
        try:
            loop.call_soon_threadsafe(self._fan_out, packets)
        except RuntimeError:  # the loop has been closed: there is nobody left to show anything to
            self._watched.clear()

    def subscribe(self, limit: int) -> PacketQueue:
        """A new viewer's queue of at most `limit` packets. It begins with a keyframe, which is asked for here."""
        self._loop = asyncio.get_running_loop()
        queue = PacketQueue(limit, self._skipped)
        self.resume(queue)
        return queue

    def unsubscribe(self, queue: PacketQueue) -> None:
        queue.close()
        self.pause(queue)

    def resume(self, queue: PacketQueue) -> None:
        """Go on after `pause`, with a keyframe."""
        self._queues.add(queue)
        self.request_keyframe()
        self._watched.set()

    def pause(self, queue: PacketQueue) -> None:
        """Nothing more for a viewer until `resume`. Its queue stays open."""
        queue.clear()
        self._queues.discard(queue)
        if not self._queues:
            self._watched.clear()

    def request_keyframe(self) -> None:
        """Make a keyframe soon; requests that come close together get one between them."""
        self._keyframe_wanted.set()

    def _keyframe_due(self, at_s: float) -> bool:
        soon = at_s - self._keyframe_at_s < self._settings.keyframe_throttle_s
        if soon or not self._keyframe_wanted.is_set():
            return False
        self._keyframe_wanted.clear()
        return True

    def _fan_out(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            for queue in self._queues:
                queue.push(packet)
        self._figures.queue_depth("packets", max(map(len, self._queues), default=0))

    def _skipped(self, count: int) -> None:
        self._figures.frames_dropped("slow_viewer", count)
        self.request_keyframe()
