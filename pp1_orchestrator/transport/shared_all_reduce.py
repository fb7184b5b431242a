"""All-reduce over the mesh ranks of one host, through memory that they share.

Every rank has a counter, and two slots for its values that it uses in turn. For sum n it writes its values, sets its
counter to n, waits until all counters are at n, and adds the values of all ranks in the order of the ranks, so that
all get the same bits. Two slots are enough: when a rank begins sum n + 2, every counter is at n + 1, so every rank has
read sum n.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from pp1_orchestrator.transport import shared_memory
from pp1_orchestrator.transport.shared_memory import SharedMemory

SLOT_BYTES = 1 << 24
"""The largest tensor that is summed this way."""


def attach(group: dist.ProcessGroup, limit_s: float) -> SharedMemoryAllReduce | None:
    """Called by all ranks of the group at the same time. None on all of them if one can't share memory.

    limit_s: limit of one wait for a peer.
    """
    size = group.size()
    memory = shared_memory.attach(group, size, 2 * size * SLOT_BYTES, limit_s, "a rank of the mesh")
    return None if memory is None else SharedMemoryAllReduce(memory, group.rank(), size)


class SharedMemoryAllReduce:
    """One rank's part."""

    def __init__(self, memory: SharedMemory, rank: int, degree: int) -> None:
        self._memory, self._rank = memory, rank
        self._slots = memory.data.view(2, degree, SLOT_BYTES)
        self._peers = [other for other in range(degree) if other != rank]
        self._views: dict[tuple[torch.Size, torch.dtype], list[list[Tensor]]] = {}
        self._count = 0

    def supports(self, tensor: Tensor) -> bool:
        return tensor.device.type == "cpu" and tensor.is_contiguous() and tensor.nbytes <= SLOT_BYTES

    def all_reduce_(self, tensor: Tensor) -> None:
        """Sum over the ranks, in place. Raises PeerError if one of them has ended or the time limit passes."""
        self._count += 1
        slots = self._slots_for(tensor)[self._count % 2]
        slots[self._rank].copy_(tensor)
        self._memory.publish(self._rank, self._count)
        for peer in self._peers:
            self._memory.wait_for(peer, self._count)
        torch.add(slots[0], slots[1], out=tensor)
        for slot in slots[2:]:
            tensor.add_(slot)

    def _slots_for(self, tensor: Tensor) -> list[list[Tensor]]:
        """Views of the slots in the tensor's shape and dtype, by turn and rank."""
        key = tensor.shape, tensor.dtype
        if key not in self._views:
            part = self._slots[:, :, : tensor.nbytes].view(tensor.dtype)
            self._views[key] = [[slot.view(tensor.shape) for slot in turn] for turn in part]
        return self._views[key]
