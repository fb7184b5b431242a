"""All-reduce and all-to-all over the mesh ranks of one host, through memory that they share.

Every rank has a counter, and two slots for its values that it uses in turn. For collective n it writes its values, sets
its counter to n, waits until all counters are at n, and reads what the others wrote. A sum adds the values of all ranks
in the order of the ranks, so that all get the same bits. Two slots are enough: when a rank begins collective n + 2,
every counter is at n + 1, so every rank has read those of collective n.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
import torch.distributed as dist
from torch import Tensor

from pp1_orchestrator.transport import shared_memory
from pp1_orchestrator.transport.shared_memory import SharedMemory

SLOT_BYTES = 1 << 24
"""The most that a rank writes in one collective."""
ALIGNMENT = 64
"""Of each tensor of an exchange in its slot."""


def attach(group: dist.ProcessGroup, limit_s: float) -> SharedMemoryCollectives | None:
    """Called by all ranks of the group at the same time. None on all of them if one can't share memory.

    limit_s: limit of one wait for a peer.
    """
    size = group.size()
    memory = shared_memory.attach(group, size, 2 * size * SLOT_BYTES, limit_s, "a rank of the mesh")
    return None if memory is None else SharedMemoryCollectives(memory, group.rank(), size)


class SharedMemoryCollectives:
    """One rank's part."""

    def __init__(self, memory: SharedMemory, rank: int, degree: int) -> None:
        self._memory, self._rank = memory, rank
        self._slots = memory.data.view(2, degree, SLOT_BYTES)
        self._peers = [other for other in range(degree) if other != rank]
        self._views: dict[tuple[torch.Size, torch.dtype], list[list[Tensor]]] = {}
        self._exchanges: dict[tuple[tuple[torch.Size, torch.dtype], ...], list[list[list[Tensor]]]] = {}
        self._count = 0

    def supports(self, *tensors: Tensor) -> bool:
        """Whether a collective of these tensors can go through the memory. Those of a sum must be contiguous."""
        on_host = all(tensor.device.type == "cpu" for tensor in tensors)
        return on_host and _offsets(tensors)[-1] <= SLOT_BYTES

    def all_reduce_(self, tensor: Tensor) -> None:
        """Sum over the ranks, in place. Raises PeerError if one of them has ended or the time limit passes."""
        slots = self._slots_for(tensor)[self._next()]
        slots[self._rank].copy_(tensor)
        self._meet()
        torch.add(slots[0], slots[1], out=tensor)
        for slot in slots[2:]:
            tensor.add_(slot)

    def all_to_all(self, send: Sequence[Tensor], receive: Sequence[Tensor]) -> None:
        """As `MeshShard.all_to_all`. Raises PeerError as `all_reduce_` does."""
        slots, own = self._exchange_slots(send)[self._next()], self._rank
        for part, slot in zip(send, slots[own], strict=True):
            for peer in self._peers:
                slot[peer].copy_(part[peer])
        self._memory.publish(own, self._count)
        for part, out in zip(send, receive, strict=True):
            out[own].copy_(part[own])  # while the others still write
        self._wait()
        for peer in self._peers:
            for out, slot in zip(receive, slots[peer], strict=True):
                out[peer].copy_(slot[own])

    def _next(self) -> int:
        """Begin the next collective -> which of the two slots is its."""
        self._count += 1
        return self._count % 2

    def _meet(self) -> None:
        self._memory.publish(self._rank, self._count)
        self._wait()

    def _wait(self) -> None:
        for peer in self._peers:
            self._memory.wait_for(peer, self._count)

    def _slots_for(self, tensor: Tensor) -> list[list[Tensor]]:
        """Views of the slots in the tensor's shape and dtype, by turn and rank."""
        key = tensor.shape, tensor.dtype
        if key not in self._views:
            part = self._slots[:, :, : tensor.nbytes].view(tensor.dtype)
            self._views[key] = [[slot.view(tensor.shape) for slot in turn] for turn in part]
        return self._views[key]

    def _exchange_slots(self, tensors: Sequence[Tensor]) -> list[list[list[Tensor]]]:
        """Views of the slots in the shapes and dtypes of several tensors, by turn, rank and tensor."""
        key = tuple((tensor.shape, tensor.dtype) for tensor in tensors)
        if key not in self._exchanges:
            starts = list(zip(tensors, _offsets(tensors), strict=False))
            self._exchanges[key] = [
                [[slot[at : at + t.nbytes].view(t.dtype).view(t.shape) for t, at in starts] for slot in turn]
                for turn in self._slots
            ]
        return self._exchanges[key]


def _offsets(tensors: Sequence[Tensor]) -> list[int]:
    """Where in a slot each tensor begins, and where the last one ends."""
    return [0, *accumulate(-(-tensor.nbytes // ALIGNMENT) * ALIGNMENT for tensor in tensors)]
