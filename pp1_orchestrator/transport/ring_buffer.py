"""Messages between two ranks of one host through shared memory: one ring buffer for each direction.

The same bytes in the same order as on a socket, copied once by the sender and once by the receiver. Each ring has two
counters: bytes written and bytes taken. A message that fits into the ring is written without waiting. The rest of a
longer one is written while the peer takes it.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor

from pp1_orchestrator.transport import shared_memory
from pp1_orchestrator.transport.link import Channel
from pp1_orchestrator.transport.shared_memory import SharedMemory

RING_BYTES = 1 << 23
"""More than an embedding and a window of latents take at 14B sizes."""
PIECE_BYTES = 1 << 18
"""Bytes that are published at once: the peer begins to read a large tensor before all of it is written."""


def attach(group: dist.ProcessGroup, limit_s: float, peer: str) -> SharedMemory | None:
    """Called by both ranks of the group at the same time. None on both if one can't share memory."""
    return shared_memory.attach(group, 4, 2 * RING_BYTES, limit_s, peer, populate=True)


class _Ring:
    """One direction, seen from one of its ends. done: bytes that this end has written or taken."""

    def __init__(self, memory: SharedMemory, direction: int) -> None:
        self.memory = memory
        self.written, self.taken = 2 * direction, 2 * direction + 1
        self.done = 0
        self._bytes = memory.data.view(2, RING_BYTES)[direction]

    def contiguous(self, limit: int) -> Tensor:
        """The next bytes, at most `limit`, up to the end of the ring."""
        start = self.done % RING_BYTES
        return self._bytes[start : start + limit]


class RingBufferChannel(Channel):
    """One of two ends. rank: 0 or 1."""

    device = torch.device("cpu")

    def __init__(self, memory: SharedMemory, rank: int) -> None:
        self._out, self._back = _Ring(memory, rank), _Ring(memory, 1 - rank)
        self._unsent: deque[Tensor] = deque()
        self._accepted = 0

    def start_send(self, tensors: Sequence[Tensor]) -> Callable[[], None]:
        """Writes what fits into the ring; see `Channel.start_send`."""
        for tensor in tensors:
            if tensor.numel():
                self._unsent.append(_as_bytes(tensor))
                self._accepted += tensor.nbytes
        self._write(self._accepted, wait=False)
        return partial(self._finish, self._accepted)

    def receive(self, tensor: Tensor) -> None:
        ring, rest = self._back, _as_bytes(tensor)
        while rest.numel():
            self._wait_for_bytes(ring)
            piece = ring.contiguous(min(rest.numel(), ring.memory.count(ring.written) - ring.done))
            rest[: piece.numel()].copy_(piece)
            rest = rest[piece.numel() :]
            ring.done += piece.numel()
            ring.memory.publish(ring.taken, ring.done)

    def _finish(self, end: int) -> None:
        """Write up to byte `end` and wait until the peer has taken it. Only this notices that an idle peer hangs."""
        self._write(end, wait=True)
        self._out.memory.wait_for(self._out.taken, end)

    def _wait_for_bytes(self, ring: _Ring) -> None:
        """Meanwhile write what did not fit before: the peer may need it before it sends anything."""
        deadline = ring.memory.deadline()
        while self._unsent and ring.memory.count(ring.written) == ring.done:
            self._write(self._accepted, wait=False)
            error = ring.memory.sleep(deadline) if self._unsent else None
            if error and ring.memory.count(ring.written) == ring.done:
                raise error
        ring.memory.wait_for(ring.written, ring.done + 1)

    def _write(self, end: int, wait: bool) -> None:
        ring = self._out
        while ring.done < end:
            free = RING_BYTES - (ring.done - ring.memory.count(ring.taken))
            if not free and not wait:
                return
            if not free:
                ring.memory.wait_for(ring.taken, ring.done - RING_BYTES + 1)
                continue
            source = self._unsent.popleft()
            piece = ring.contiguous(min(source.numel(), free, PIECE_BYTES))
            piece.copy_(source[: piece.numel()])
            if piece.numel() < source.numel():
                self._unsent.appendleft(source[piece.numel() :])
            ring.done += piece.numel()
            ring.memory.publish(ring.written, ring.done)


def _as_bytes(tensor: Tensor) -> Tensor:
    """uint8 view of a contiguous tensor."""
    return tensor.view(-1).view(torch.uint8)
