"""Sums over the mesh ranks of one host, through memory that they share: no socket, and no thread in between.

Every rank has two places for its own values, which take turns, and a counter. For sum n it writes its values, raises
its counter to n, waits until all counters are there, and adds the ranks' values in their order, so that all get the
same bits. Two places are enough: when a rank comes to n + 2, every counter stands at n + 1, so sum n has been read.
A rank that is there first looks again for a moment, then sleeps until a peer writes to its pipe: a sleeper is woken
at once even where others keep the processors busy, and one who looked for ever would take the peer's.
Memory and pipes have no names and go with their last rank. Needs a processor that keeps the order of stores, and Linux.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import platform
import select
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from pp1_orchestrator.errors import PeerError

log = logging.getLogger(__name__)
PLACE_BYTES = 1 << 24
"""What one sum may have; only what is used takes memory."""
COUNTER_BYTES = 64
LOOKS = 400
"""So often a rank looks before it sleeps: some tens of microseconds."""
RINGS = 1 << 12
"""How many calls to wake up are taken off a pipe at once."""


@dataclass(frozen=True, slots=True)
class Met:
    """What a rank has of the others. bells: where to wake each of them; woken: where they wake this one."""

    memory: mmap.mmap
    pids: list[int]
    bells: list[int]
    woken: int


def meet(group: dist.ProcessGroup, limit_s: float) -> SharedSums | None:
    """Called by all ranks of the group at the same time. None where one of them can't sum this way.

    limit_s: how long a peer may be waited for.
    """
    told = [torch.zeros(3, dtype=torch.int64) for _ in range(group.size())]
    woken, bell = os.pipe()
    os.set_blocking(woken, False)
    shared = _new_memory(group.size()) if group.rank() == 0 else -1
    dist.all_gather(told, torch.tensor([os.getpid(), shared, bell]), group=group)
    ranks = [(int(pid), int(file), int(bell)) for pid, file, bell in told]
    met = None
    if ranks[0][1] >= 0:
        try:
            met = _open(ranks, group.rank(), woken)
        except OSError as error:
            log.warning("sums go through sockets, which is slower: the ranks can't share memory: %s", error)
    opened = torch.tensor([met is not None])
    dist.all_reduce(opened, dist.ReduceOp.MIN, group=group)
    if shared >= 0:
        os.close(shared)
    return SharedSums(group, met, limit_s) if met is not None and bool(opened) else None


def _new_memory(degree: int) -> int:
    """A file without a name; -1 where this can't be done."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return -1
    shared = os.memfd_create("pp1-sums")
    os.truncate(shared, _size(degree))
    return shared


def _size(degree: int) -> int:
    return degree * (COUNTER_BYTES + 2 * PLACE_BYTES)


def _open(ranks: Sequence[tuple[int, int, int]], rank: int, woken: int) -> Met:
    """ranks: process, file of the shared memory, file of its bell. Raises OSError where a file can't be opened."""
    first, file, _ = ranks[0]
    shared = os.open(f"/proc/{first}/fd/{file}", os.O_RDWR)
    try:
        memory = mmap.mmap(shared, _size(len(ranks)))
    finally:
        os.close(shared)
    others = [numbers for other, numbers in enumerate(ranks) if other != rank]
    bells = [os.open(f"/proc/{pid}/fd/{bell}", os.O_WRONLY | os.O_NONBLOCK) for pid, _, bell in others]
    return Met(memory, [pid for pid, *_ in others], bells, woken)


class SharedSums:
    """One rank's part."""

    def __init__(self, group: dist.ProcessGroup, met: Met, limit_s: float) -> None:
        self._rank, self._degree, self._limit_s = group.rank(), group.size(), limit_s
        self._bells, self._woken = met.bells, met.woken
        self._counters = memoryview(met.memory)[: COUNTER_BYTES * self._degree].cast("q")
        self._places = torch.frombuffer(met.memory, dtype=torch.uint8)[COUNTER_BYTES * self._degree :].view(
            2, self._degree, PLACE_BYTES
        )
        self._others = [r * (COUNTER_BYTES // 8) for r in range(self._degree) if r != self._rank]
        self._events = select.poll()
        for file in (self._woken, *(os.pidfd_open(pid) for pid in met.pids)):
            self._events.register(file, select.POLLIN)
        self._views: dict[tuple[torch.Size, torch.dtype], list[list[Tensor]]] = {}
        self._count = 0

    def fits(self, tensor: Tensor) -> bool:
        return tensor.device.type == "cpu" and tensor.is_contiguous() and tensor.nbytes <= PLACE_BYTES

    def add(self, tensor: Tensor) -> None:
        """Sum over the ranks, in place. Raises PeerError when one of them has ended or is silent for too long."""
        self._count += 1
        places = self._places_for(tensor)[self._count % 2]
        places[self._rank].copy_(tensor)
        self._counters[self._rank * (COUNTER_BYTES // 8)] = self._count
        for bell in self._bells:
            with contextlib.suppress(BlockingIOError):  # full: then it has been rung
                os.write(bell, b"\0")
        for other in self._others:
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
        """Until a peer's counter is at this sum."""
        for _ in range(LOOKS):
            if self._counters[other] >= self._count:
                return
        end = time.monotonic() + self._limit_s
        while self._counters[other] < self._count:
            events = {file for file, _ in self._events.poll(max(0.0, end - time.monotonic()) * 1e3)}
            if self._woken in events:
                os.read(self._woken, RINGS)
            elif self._counters[other] < self._count:  # a peer may have ended after this sum
                raise PeerError(f"a rank of the mesh {'has ended' if events else 'was silent for too long'}")
