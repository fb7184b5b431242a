"""Memory that ranks of one host share, and how one waits there for another: no socket, and no thread in between.

Ranks tell how far they have come by counters that only rise. One that waits for a counter looks again for a moment,
then sleeps until a peer writes to its pipe: a sleeper is woken at once even where others keep the processors busy, and
one who looked for ever would take the peer's. Memory and pipes have no names and go with their last rank. Needs a
processor that keeps the order of stores, and Linux.
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
from dataclasses import dataclass

import torch
import torch.distributed as dist

from pp1_orchestrator.errors import PeerError

log = logging.getLogger(__name__)
COUNTER_BYTES = 64
"""So that no two counters are in one line of a processor's cache."""
STRIDE = COUNTER_BYTES // 8
SPIN_ITERATIONS = 400
"""So often a rank looks before it sleeps: some tens of microseconds."""
WAKE_DRAIN_BYTES = 1 << 12
"""How many calls to wake up are taken off a pipe at once."""


@dataclass(frozen=True, slots=True)
class SharedLayout:
    """What is shared: so many counters, and bytes of data, of which only what is used takes memory.

    at_once: all of it is to take memory from the start, where in time all would be used.
    """

    counters: int
    data_bytes: int
    at_once: bool = False

    @property
    def nbytes(self) -> int:
        return self.counters * COUNTER_BYTES + self.data_bytes


@dataclass(frozen=True, slots=True)
class _PeerHandles:
    """What a rank tells the others: its process, and its files of the shared memory (-1: none) and of its bell."""

    pid: int
    memory: int
    bell: int


def attach(group: dist.ProcessGroup, room: SharedLayout, limit_s: float, peers: str) -> SharedMemory | None:
    """Called by all ranks of the group at the same time. None where one of them can't share memory.

    limit_s: how long a peer may be waited for. peers: what they are called where they are missed.
    """
    woken, bell = os.pipe()
    files = contextlib.ExitStack()
    files.callback(os.close, woken)
    files.callback(os.close, bell)
    os.set_blocking(woken, False)
    offered = _new_memory(room) if group.rank() == 0 else -1
    try:
        ranks = _tell(group, _PeerHandles(os.getpid(), offered, bell))
        shared = None
        if ranks[0].memory >= 0:
            try:
                shared = _open(ranks, group.rank(), room, files)
            except OSError as error:
                log.warning("ranks use sockets, which is slower: they can't share memory: %s", error)
        everybody = all(answer[0] for answer in _exchange(group, [int(shared is not None)]))
    except BaseException:
        files.close()
        raise
    finally:
        if offered >= 0:
            os.close(offered)
    if shared is None or not everybody:
        files.close()
        return None
    memory, bells, processes = shared
    return SharedMemory(memory, room, bells, [woken, *processes], files, limit_s, peers)


def _new_memory(room: SharedLayout) -> int:
    """A file without a name; -1 where this can't be done."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return -1
    with contextlib.ExitStack() as undo:
        try:
            offered = os.memfd_create("pp1")
            undo.callback(os.close, offered)
            os.truncate(offered, room.nbytes)
        except OSError as error:
            log.warning("ranks use sockets, which is slower: no memory can be made to share: %s", error)
            return -1
        undo.pop_all()
    return offered


def _tell(group: dist.ProcessGroup, own: _PeerHandles) -> list[_PeerHandles]:
    """What every rank tells, in their order."""
    return [_PeerHandles(*numbers) for numbers in _exchange(group, [own.pid, own.memory, own.bell])]


def _exchange(group: dist.ProcessGroup, own: list[int]) -> list[list[int]]:
    """Every rank's numbers, in their order. Asked of the group itself: it need not be one that torch knows by name."""
    places = [torch.zeros(len(own), dtype=torch.int64) for _ in range(group.size())]
    group.allgather([places], [torch.tensor(own)]).wait()
    return [place.tolist() for place in places]


def _open(
    ranks: Sequence[_PeerHandles], rank: int, room: SharedLayout, files: contextlib.ExitStack
) -> tuple[mmap.mmap, list[int], list[int]]:
    """The memory, and of each other rank its bell and its process. Raises OSError where a file can't be opened."""

    def keep(file: int) -> int:
        files.callback(os.close, file)
        return file

    offered = os.open(f"/proc/{ranks[0].pid}/fd/{ranks[0].memory}", os.O_RDWR)
    try:
        memory = mmap.mmap(offered, room.nbytes, mmap.MAP_SHARED | (mmap.MAP_POPULATE if room.at_once else 0))
    finally:
        os.close(offered)
    others = [told for other, told in enumerate(ranks) if other != rank]
    bells = [keep(os.open(f"/proc/{told.pid}/fd/{told.bell}", os.O_WRONLY | os.O_NONBLOCK)) for told in others]
    return memory, bells, [keep(os.pidfd_open(told.pid)) for told in others]


class SharedMemory:
    """One rank's view. Only one rank raises a given counter."""

    def __init__(
        self,
        memory: mmap.mmap,
        room: SharedLayout,
        bells: Sequence[int],
        watched: Sequence[int],
        files: contextlib.ExitStack,
        limit_s: float,
        peers: str,
    ) -> None:
        """bells: where to wake the others. watched: where they wake this rank, and then their processes."""
        self._limit_s, self._peers = limit_s, peers
        self._bells, self._woken = bells, watched[0]
        self._counters = memoryview(memory)[: COUNTER_BYTES * room.counters].cast("q")
        self.data = torch.frombuffer(memory, dtype=torch.uint8)[COUNTER_BYTES * room.counters :]
        self._events = select.poll()
        for file in watched:
            self._events.register(file, select.POLLIN)
        self.close = weakref.finalize(self, files.close)
        """Give the files back; the memory goes with the last who looks at it."""

    def count(self, counter: int) -> int:
        return self._counters[counter * STRIDE]

    def raise_to(self, counter: int, value: int) -> None:
        """What was written before is there for whoever sees the counter."""
        self._counters[counter * STRIDE] = value
        for bell in self._bells:
            # Full: then it has been rung. Without a reader: the peer has ended, which is noticed where it is missed.
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                os.write(bell, b"\0")

    def wait_for(self, counter: int, value: int) -> None:
        """Until a counter is there. Raises PeerError when a peer has ended or is silent for too long."""
        place = counter * STRIDE
        for _ in range(SPIN_ITERATIONS):
            if self._counters[place] >= value:
                return
        end = self.limit()
        while self._counters[place] < value:
            wrong = self.sleep(end)
            if wrong and self._counters[place] < value:  # a peer may have ended after what is waited for
                raise wrong

    def limit(self) -> float:
        """Until when a wait that begins now may last, monotonic seconds."""
        return time.monotonic() + self._limit_s

    def sleep(self, end: float) -> PeerError | None:
        """Until a peer raises any counter; else why none will."""
        events = {file for file, _ in self._events.poll(max(0.0, end - time.monotonic()) * 1e3)}
        if self._woken in events:
            os.read(self._woken, WAKE_DRAIN_BYTES)
            return None
        return PeerError(f"{self._peers} {'has ended' if events else 'was silent for too long'}")
