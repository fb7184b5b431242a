"""Sums over the mesh ranks of one host, through memory that they share.

Every rank has two places for its own values, which take turns, and a counter. For sum n it writes its values, raises
its counter to n, waits until all counters are there, and adds the ranks' values in their order, so that all get the
same bits. Two places are enough: when a rank comes to n + 2, every counter stands at n + 1, so sum n has been read.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from pp1_orchestrator.transport import shared_memory
from pp1_orchestrator.transport.shared_memory import SharedLayout, SharedMemory

PLACE_BYTES = 1 << 24
"""What one sum may have."""


def attach(group: dist.ProcessGroup, limit_s: float) -> SharedMemoryAllReduce | None:
    """Called by all ranks of the group at the same time. None where one of them can't sum this way.

    limit_s: how long a peer may be waited for.
    """
    room = SharedLayout(counters=group.size(), data_bytes=2 * group.size() * PLACE_BYTES)
    memory = shared_memory.attach(group, room, limit_s, "a rank of the mesh")
    return None if memory is None else SharedMemoryAllReduce(memory, group.rank(), group.size())


class SharedMemoryAllReduce:
    """One rank's part."""

    def __init__(self, memory: SharedMemory, rank: int, degree: int) -> None:
        self._memory, self._rank = memory, rank
        self._places = memory.data.view(2, degree, PLACE_BYTES)
        self._others = [other for other in range(degree) if other != rank]
        self._views: dict[tuple[torch.Size, torch.dtype], list[list[Tensor]]] = {}
        self._count = 0

    def fits(self, tensor: Tensor) -> bool:
        return tensor.device.type == "cpu" and tensor.is_contiguous() and tensor.nbytes <= PLACE_BYTES

    def add(self, tensor: Tensor) -> None:
        """Sum over the ranks, in place. Raises PeerError when one of them has ended or is silent for too long."""
        self._count += 1
        places = self._places_for(tensor)[self._count % 2]
        places[self._rank].copy_(tensor)
        self._memory.raise_to(self._rank, self._count)
        for other in self._others:
            self._memory.wait_for(other, self._count)
        torch.add(places[0], places[1], out=tensor)
        for place in places[2:]:
            tensor.add_(place)

    def _places_for(self, tensor: Tensor) -> list[list[Tensor]]:
        key = tensor.shape, tensor.dtype
        if key not in self._views:
            part = self._places[:, :, : tensor.nbytes].view(tensor.dtype)
            self._views[key] = [[place.view(tensor.shape) for place in turn] for turn in part]
        return self._views[key]
