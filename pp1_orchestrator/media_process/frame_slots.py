"""Frames from rank 0 to the media process: a few slots of shared memory, and a socket that tells which one is filled.

The sender never waits: it drops a frame while all slots are taken. Memory and socket have no names, so nothing can be
left behind.
"""

import contextlib
import mmap
import os
import socket
import threading
from collections.abc import Iterator

import msgspec
import numpy as np

from pp1_orchestrator.media.frames import Frame

SLOTS = 16
"""Memory is only taken by those that are used: by more than one while the media process gets too little time."""
MESSAGE_BYTES = 64


class _Filled(msgspec.Struct, frozen=True, array_like=True):
    slot: int
    planar: bool
    """yuv420p; otherwise RGB."""
    at_s: float


class FrameSender:
    """Rank 0's end. `send` is called on the pacer's thread, all else on any.

    memory, remote: file descriptor and socket for the other end; `detach` closes them here.
    """

    def __init__(self, height: int, width: int) -> None:
        size = height * width * 3
        self.memory = os.memfd_create("pp1-frames")
        os.truncate(self.memory, SLOTS * size)
        self._slots = np.frombuffer(mmap.mmap(self.memory, SLOTS * size), np.uint8).reshape(SLOTS, size)
        self._socket, self.remote = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        self._free = list(range(SLOTS))
        self._lock = threading.Lock()
        """Held for as long as one frame is copied: the socket must not be closed under a sender."""

    def send(self, frame: Frame, at_s: float) -> bool:
        """Whether there was a free slot. True after `close`."""
        with self._lock:
            if self._socket.fileno() < 0:
                return True
            self._reclaim()
            if not self._free:
                return False
            slot = self._free.pop()
            self._slots[slot, : frame.size] = frame.reshape(-1)
            try:
                self._socket.send(msgspec.msgpack.encode(_Filled(slot, frame.ndim == 2, at_s)))
            except OSError:  # nobody reads: whoever watches the process will notice
                self._free.append(slot)
                return False
            return True

    def detach(self) -> None:
        """Close the other end's files in this process: the other process has them now."""
        os.close(self.memory)
        self.remote.close()

    def close(self) -> None:
        with self._lock:
            self._socket.close()

    def _reclaim(self) -> None:
        try:
            while number := self._socket.recv(1):
                if number[0] < SLOTS and number[0] not in self._free:
                    self._free.append(number[0])
        except OSError:  # there is nothing to read, or nobody writes any more
            return


class FrameReceiver:
    """The media process's end, for one thread. height, width: as those of the sender."""

    def __init__(self, memory: int, end: socket.socket, height: int, width: int) -> None:
        self._height, self._width, self._socket = height, width, end
        size = height * width * 3
        mapped = mmap.mmap(memory, SLOTS * size, access=mmap.ACCESS_READ)
        self._slots = np.frombuffer(mapped, np.uint8).reshape(SLOTS, size)

    def frames(self) -> Iterator[tuple[Frame, float]]:
        """Each frame with its time, until the sender has gone. It may be overwritten when the next one is asked for.

        Closes this end then.
        """
        with self._socket:
            while data := self._receive():
                filled = msgspec.msgpack.decode(data, type=_Filled)
                shape = (self._height * 3 // 2, self._width) if filled.planar else (self._height, self._width, 3)
                count = shape[0] * self._width * (1 if filled.planar else 3)
                yield self._slots[filled.slot, :count].reshape(shape), filled.at_s
                with contextlib.suppress(OSError):  # the sender has gone
                    self._socket.send(bytes([filled.slot]))

    def _receive(self) -> bytes:
        """The next message; none when the sender has gone."""
        try:
            return self._socket.recv(MESSAGE_BYTES)
        except ConnectionError:  # it has gone before it read which slots are free
            return b""
