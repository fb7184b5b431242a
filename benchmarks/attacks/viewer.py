"""A viewer that keeps count of the packets that it gets: which came, which did not, and what came beyond the stream."""

import itertools
import time
from typing import NamedTuple

from aiortc.rtp import RtpPacket

from tests.media.whep_client import Client

NUMBERS = 1 << 16
HEADER_BYTES = 12


class Arrived(NamedTuple):
    """An RTP packet: when, of which source, its number and its bytes."""

    at_s: float
    ssrc: int
    number: int
    size: int


def _now(frame: object) -> float:
    return time.monotonic()


class CountingClient(Client):
    """arrived: all packets. Its `numbers` are the times of its frames."""

    def __init__(self) -> None:
        super().__init__(_now)
        self.arrived: list[Arrived] = []
        self._handle = self._receiver._handle_rtp_packet
        self._receiver._handle_rtp_packet = self._count

    async def _count(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        size = HEADER_BYTES + len(packet.payload)
        self.arrived.append(Arrived(time.monotonic(), packet.ssrc, packet.sequence_number, size))
        await self._handle(packet, arrival_time_ms)

    def newest(self) -> Arrived | None:
        """The newest packet of the stream."""
        ours = self._stream()
        return ours[-1] if ours else None

    def lost(self, start_s: float, end_s: float) -> int:
        """Packets of the stream that should have come in this time, and came neither then nor later."""
        ours = self._stream()
        there = {packet.number for packet in ours}
        due = [packet.number for packet in ours if start_s <= packet.at_s <= end_s]
        steps = [(later - earlier) % NUMBERS for earlier, later in itertools.pairwise(due)]
        between = [
            (first + n) % NUMBERS for first, step in zip(due, steps, strict=False) if step < 1000 for n in range(step)
        ]
        return len(set(between) - there)

    def most_extra(self, start_s: float, end_s: float) -> int:
        """The most bytes in any second that are not of the stream, or came a second time."""
        seen: set[int] = set()
        source, extra = self._source(), list[Arrived]()
        for packet in self.arrived:
            if packet.ssrc == source and packet.number not in seen:
                seen.add(packet.number)
            elif start_s <= packet.at_s <= end_s:
                extra.append(packet)
        return max((sum(p.size for p in extra if a.at_s <= p.at_s < a.at_s + 1) for a in extra), default=0)

    def _source(self) -> int | None:
        return self.arrived[0].ssrc if self.arrived else None

    def _stream(self) -> list[Arrived]:
        source = self._source()
        return [packet for packet in self.arrived if packet.ssrc == source]
