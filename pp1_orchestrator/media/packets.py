"""A viewer's bounded queue of encoded packets. Belongs to the event loop's thread."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import av


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
