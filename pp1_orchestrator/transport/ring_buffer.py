"""Messages between two ranks of one host, through memory that they share: the same bytes in the same order as a socket
would carry, copied twice and by nobody else.

Each direction has a ring of bytes and two counters: how many have been written, and how many taken. A message that
fits into the ring is written at once; of a longer one the rest goes while the peer takes it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor

from pp1_orchestrator.transport import shared_memory
from pp1_orchestrator.transport.link import Channel
from pp1_orchestrator.transport.shared_memory import SharedLayout, SharedMemory

RING_BYTES = 1 << 23
"""More than an embedding and a window of latents have at 14B sizes."""
PIECE_BYTES = 1 << 18
"""The peer begins to take a tensor when so much of it has been written."""
WRITTEN, TAKEN = 0, 1


def attach(group: dist.ProcessGroup, limit_s: float, peer: str) -> SharedMemory | None:
    """Called by both ranks of the group at the same time. None where they can't share memory."""
    return shared_memory.attach(group, SharedLayout(counters=4, data_bytes=2 * RING_BYTES, at_once=True), limit_s, peer)


class _Ring:
    """One direction, as one of its ends sees it. done: bytes that this end has written, or taken."""

    def __init__(self, memory: SharedMemory, direction: int) -> None:
        self.memory = memory
        self.written, self.taken = 2 * direction + WRITTEN, 2 * direction + TAKEN
        self.done = 0
        self._bytes = memory.data.view(2, RING_BYTES)[direction]

    def next(self, most: int) -> Tensor:
        """The place of the next bytes that lie in one piece."""
        place = self.done % RING_BYTES
        return self._bytes[place : place + most]


class SharedPipe(Channel):
    """One end; `rank` is 0 or 1."""

    device = torch.device("cpu")

    def __init__(self, memory: SharedMemory, rank: int) -> None:
        self._out, self._back = _Ring(memory, rank), _Ring(memory, 1 - rank)
        self._unsent: deque[Tensor] = deque()
        self._promised = 0

    def start_send(self, tensors: Sequence[Tensor]) -> Callable[[], None]:
        """Writes what fits into the ring."""
        for tensor in tensors:
            if tensor.numel():
                self._unsent.append(_bytes_of(tensor))
                self._promised += tensor.nbytes
        self._write(self._promised, wait=False)
        return partial(self._finish, self._promised)

    def _finish(self, end: int) -> None:
        """Send up to there, and wait until the peer has taken it: an idle peer that hangs is noticed by this alone.

        Raises PeerError when the peer is gone.
        """
        self._write(end, wait=True)
        self._out.memory.wait_for(self._out.taken, end)

    def receive(self, tensor: Tensor) -> None:
        ring, left = self._back, _bytes_of(tensor)
        while left.numel():
            self._wait_for_bytes(ring)
            piece = ring.next(min(left.numel(), ring.memory.count(ring.written) - ring.done))
            left[: piece.numel()].copy_(piece)
            left = left[piece.numel() :]
            ring.done += piece.numel()
            ring.memory.raise_to(ring.taken, ring.done)

    def _wait_for_bytes(self, ring: _Ring) -> None:
        """What did not fit yet goes on meanwhile: the peer may wait for it before it sends anything."""
        end = ring.memory.limit()
        while self._unsent and ring.memory.count(ring.written) == ring.done:
            self._write(self._promised, wait=False)
            wrong = ring.memory.sleep(end) if self._unsent else None
            if wrong and ring.memory.count(ring.written) == ring.done:
                raise wrong
        ring.memory.wait_for(ring.written, ring.done + 1)

    def _write(self, end: int, wait: bool) -> None:
        ring = self._out
        while ring.done < end:
            room = RING_BYTES - (ring.done - ring.memory.count(ring.taken))
            if not room and not wait:
                return
            if not room:
                ring.memory.wait_for(ring.taken, ring.done - RING_BYTES + 1)
                continue
            source = self._unsent.popleft()
            piece = ring.next(min(source.numel(), room, PIECE_BYTES))
            piece.copy_(source[: piece.numel()])
            if piece.numel() < source.numel():
                self._unsent.appendleft(source[piece.numel() :])
            ring.done += piece.numel()
            ring.memory.raise_to(ring.written, ring.done)


def _bytes_of(tensor: Tensor) -> Tensor:
    """Of a tensor that lies in one piece, in the host's memory."""
    return tensor.view(-1).view(torch.uint8)
