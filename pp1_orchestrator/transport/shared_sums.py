"""Sums over the mesh ranks of one host, through memory that they share: no socket, and no other thread to wait for.

Every rank has two places for its own values, which take turns, and a counter. For sum n it writes its values, raises
its counter to n, waits until all counters are there, and adds the ranks' values in their order, so that all get the
same bits. Two places are enough: when a rank comes to n + 2, every counter stands at n + 1, so sum n has been read.
The memory has no name and goes with its last rank. Needs a processor that keeps the order of stores, and Linux.
"""

from __future__ import annotations

import mmap
import os
import platform
import select
import sys
import time

import torch
import torch.distributed as dist
from torch import Tensor

from pp1_orchestrator.errors import PeerError

PLACE_BYTES = 1 << 24
"""What one sum may have; only what is used takes memory."""
COUNTER_BYTES = 64
LOOK_EVERY = 512
"""A waiting rank lets others have the processor so many times before it looks whether its peers still live."""
SOON_S, NAP_S = 0.02, 0.001
"""A rank that is later than SOON_S is hung or far behind: its peers then sleep between looks."""


def available() -> bool:
    """Whether ranks of one host can sum this way here."""
    return sys.platform == "linux" and platform.machine() == "x86_64"


class SharedSums:
    """One rank's part. Made by all ranks of the group at the same time."""

    def __init__(self, group: dist.ProcessGroup, limit_s: float) -> None:
        """limit_s: how long a peer may be waited for."""
        self._rank, self._degree, self._limit_s = group.rank(), group.size(), limit_s
        memory, pids = self._meet(group)
        self._counters = memoryview(memory)[: COUNTER_BYTES * self._degree].cast("q")
        self._places = torch.frombuffer(memory, dtype=torch.uint8)[COUNTER_BYTES * self._degree :].view(
            2, self._degree, PLACE_BYTES
        )
        self._others = [r * (COUNTER_BYTES // 8) for r in range(self._degree) if r != self._rank]
        self._ended = select.poll()
        for pid in pids:
            self._ended.register(os.pidfd_open(pid), select.POLLIN)
        self._views: dict[tuple[torch.Size, torch.dtype], list[list[Tensor]]] = {}
        self._count = 0

    def _meet(self, group: dist.ProcessGroup) -> tuple[mmap.mmap, list[int]]:
        """The first rank makes the memory; the others find it by its process and file number."""
        size = self._degree * (COUNTER_BYTES + 2 * PLACE_BYTES)
        file = os.memfd_create("pp1-sums") if self._rank == 0 else -1
        if file >= 0:
            os.truncate(file, size)
        told = [torch.zeros(2, dtype=torch.int64) for _ in range(self._degree)]
        dist.all_gather(told, torch.tensor([os.getpid(), file]), group=group)
        pids = [int(pid) for pid, _ in told]
        if self._rank:
            file = os.open(f"/proc/{pids[0]}/fd/{int(told[0][1])}", os.O_RDWR)
        memory = mmap.mmap(file, size)
        dist.barrier(group=group)
        os.close(file)
        return memory, [pid for pid in pids if pid != os.getpid()]

    def fits(self, tensor: Tensor) -> bool:
        return tensor.device.type == "cpu" and tensor.is_contiguous() and tensor.nbytes <= PLACE_BYTES

    def add(self, tensor: Tensor) -> None:
        """Sum over the ranks, in place. Raises PeerError when one of them has ended or is silent for too long."""
        self._count += 1
        places = self._places_for(tensor)[self._count % 2]
        places[self._rank].copy_(tensor)
        self._counters[self._rank * (COUNTER_BYTES // 8)] = self._count
        for other in self._others:
            if self._counters[other] < self._count:
                self._wait(other)
        torch.add(places[0], places[1], out=tensor)
        for place in places[2:]:
            tensor.add_(place)

    def _places_for(self, tensor: Tensor) -> list[list[Tensor]]:
        key = tensor.shape, tensor.dtype
        if key not in self._views:
            part = self._places[:, :, : tensor.nbytes].view(tensor.dtype)
            self._views[key] = [[place.view(tensor.shape) for place in turn] for turn in part]
        return self._views[key]

    def _wait(self, other: int) -> None:
        """Until a peer's counter is at this sum. Whoever waits gives the processor to whoever has something to do."""
        start = time.monotonic()
        while True:
            for _ in range(LOOK_EVERY):
                if self._counters[other] >= self._count:
                    return
                os.sched_yield()
            ended, waited = self._ended.poll(0), time.monotonic() - start
            if self._counters[other] >= self._count:
                return
            if ended or waited > self._limit_s:
                raise PeerError(f"a rank of the mesh {'has ended' if ended else 'was silent for too long'}")
            if waited > SOON_S:
                time.sleep(NAP_S)
