"""Memory that the ranks of one host share, and how one rank waits in it for another: without sockets or threads.

Ranks publish their progress as counters that only rise. A rank that waits for a counter spins for a moment, then sleeps
until a peer writes to its pipe. Sleeping wakes it without delay even if other processes keep the processors busy, and
spinning for longer would take processor time from the peer. Memory and pipes have no names and disappear with the last
rank that has them open. Needs Linux on x86-64, whose processors keep the order of stores.
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
import weakref
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist

from pp1_orchestrator.errors import PeerError
from pp1_orchestrator.typed_torch import integers

log = logging.getLogger(__name__)
COUNTER_BYTES = 64
"""Keeps any two counters out of the same cache line."""
STRIDE = COUNTER_BYTES // 8
SPIN_ITERATIONS = 400
"""How often a rank reads a counter before it sleeps: some tens of microseconds."""
WAKE_DRAIN_BYTES = 1 << 12
"""How many wake-up bytes are read from the pipe in one go."""


class _PeerHandles(NamedTuple):
    """A rank's process, and its file descriptors of the shared memory (-1: none) and of its pipe's write end."""

    pid: int
    memory: int
    wake: int


def attach(
    group: dist.ProcessGroup, counters: int, data_bytes: int, limit_s: float, peers: str, populate: bool = False
) -> SharedMemory | None:
    """Share memory. Called by all ranks of the group at the same time. None on all of them if one of them can't.

    data_bytes: takes memory only where it is used, unless `populate` reserves all of it. limit_s: limit of one wait
    for a peer. peers: how errors name the other ranks.
    """
    nbytes = counters * COUNTER_BYTES + data_bytes
    with contextlib.ExitStack() as files:
        wake_fd, own_wake = os.pipe()
        files.callback(os.close, wake_fd)
        files.callback(os.close, own_wake)
        os.set_blocking(wake_fd, False)
        offered = _new_memory(nbytes, files) if group.rank() == 0 else -1
        ranks = [_PeerHandles(*row) for row in _exchange(group, [os.getpid(), offered, own_wake])]
        shared = None
        if ranks[0].memory >= 0:
            try:
                shared = _open(ranks, group.rank(), nbytes, populate, files)
            except OSError as error:
                log.warning("this rank can't share memory, so all ranks use sockets, which are slower: %s", error)
        everybody = all(answer[0] for answer in _exchange(group, [int(shared is not None)]))
        if shared is None or not everybody:
            return None
        memory, peer_wakes, peer_processes = shared
        polled = [wake_fd, *peer_processes]
        return SharedMemory(memory, counters, peer_wakes, polled, files.pop_all(), limit_s, peers)


def _new_memory(nbytes: int, files: contextlib.ExitStack) -> int:
    """A file descriptor of unnamed memory; -1 if it can't be made."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return -1
    try:
        offered = os.memfd_create("pp1")
        files.callback(os.close, offered)
        os.truncate(offered, nbytes)
    except OSError as error:
        log.warning("no memory can be shared, so all ranks use sockets, which are slower: %s", error)
        return -1
    return offered


def _exchange(group: dist.ProcessGroup, own: list[int]) -> list[list[int]]:
    """The numbers of every rank, by rank. Calls the group's own method: torch need not know the group by name."""
    gathered = [torch.zeros(len(own), dtype=torch.int64) for _ in range(group.size())]
    group.allgather([gathered], [torch.tensor(own)]).wait()
    return [integers(numbers) for numbers in gathered]


def _open(
    ranks: Sequence[_PeerHandles], rank: int, nbytes: int, populate: bool, files: contextlib.ExitStack
) -> tuple[mmap.mmap, list[int], list[int]]:
    """The memory, and the wake pipe and the process of every other rank. Raises OSError if a file can't be opened."""

    def keep(file: int) -> int:
        files.callback(os.close, file)
        return file

    offered = os.open(f"/proc/{ranks[0].pid}/fd/{ranks[0].memory}", os.O_RDWR)
    try:
        memory = mmap.mmap(offered, nbytes, mmap.MAP_SHARED | (mmap.MAP_POPULATE if populate else 0))
    finally:
        os.close(offered)
    others = [peer for other, peer in enumerate(ranks) if other != rank]
    wakes = [keep(os.open(f"/proc/{peer.pid}/fd/{peer.wake}", os.O_WRONLY | os.O_NONBLOCK)) for peer in others]
    return memory, wakes, [keep(os.pidfd_open(peer.pid)) for peer in others]


class SharedMemory:
    """One rank's view. Each counter is written by one rank only."""

    def __init__(
        self,
        memory: mmap.mmap,
        counters: int,
        peer_wakes: Sequence[int],
        polled: Sequence[int],
        files: contextlib.ExitStack,
        limit_s: float,
        peers: str,
    ) -> None:
        """peer_wakes: pipes that wake the peers. polled: the pipe that wakes this rank, then the peers' processes."""
        self._limit_s, self._peers = limit_s, peers
        self._peer_wakes, self._wake_fd = peer_wakes, polled[0]
        self._counters = memoryview(memory)[: COUNTER_BYTES * counters].cast("q")
        self.data = torch.frombuffer(memory, dtype=torch.uint8)[COUNTER_BYTES * counters :]
        self._events = select.poll()
        for file in polled:
            self._events.register(file, select.POLLIN)
        self.close = weakref.finalize(self, files.close)
        """Close the files. The memory itself is freed with the last tensor that views it."""

    def count(self, counter: int) -> int:
        return self._counters[counter * STRIDE]

    def publish(self, counter: int, value: int) -> None:
        """Set a counter and wake the peers. A peer that sees the value also sees all data written before."""
        self._counters[counter * STRIDE] = value
        for file in self._peer_wakes:
            # A full pipe wakes the peer anyway. A peer that has ended is noticed by whoever waits for it.
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                os.write(file, b"\0")

    def wait_for(self, counter: int, value: int) -> None:
        """Wait until a counter has reached `value`. Raises PeerError if a peer has ended or the time limit passes."""
        index = counter * STRIDE
        for _ in range(SPIN_ITERATIONS):
            if self._counters[index] >= value:
                return
        deadline = self.deadline()
        while self._counters[index] < value:
            error = self.sleep(deadline)
            if error and self._counters[index] < value:  # the peer may have ended after it had published the value
                raise error

    def deadline(self) -> float:
        """When a wait that begins now must end, in monotonic seconds."""
        return time.monotonic() + self._limit_s

    def sleep(self, deadline: float) -> PeerError | None:
        """Sleep until a peer publishes any counter. Returns an error if none will."""
        events = {file for file, _ in self._events.poll(max(0.0, deadline - time.monotonic()) * 1e3)}
        if self._wake_fd in events:
            os.read(self._wake_fd, WAKE_DRAIN_BYTES)
            return None
        return PeerError(f"{self._peers} {'has ended' if events else 'was silent for too long'}")
