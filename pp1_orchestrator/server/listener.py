"""Accepts connections, a few in each round of the event loop, so that a crowd of new ones holds nothing else up.

asyncio's own server accepts as many as its backlog has. When no descriptor is left, it tries as often, and logs each.
"""

import asyncio
import functools
import logging
import resource
import socket
import ssl
from collections import Counter
from collections.abc import Callable

import psutil

from pp1_orchestrator.server.rate_limit import client_of

log = logging.getLogger(__name__)
BACKLOG = 1024
ACCEPTS_A_ROUND = 16
RETRY_S = 0.1
SPARE_DESCRIPTORS = 96
"""Kept for the program's own needs: a new mesh, viewers, clips, stack dumps."""
DESCRIPTORS_A_CONNECTION = 3
"""Its socket, a file that is sent, and one for a connection that may only ask for health."""
LEAST_PLACES = 8
HANDSHAKES = 64
"""TLS handshakes at a time. A new one takes the place of the oldest of the address that has the most: a client that is
there takes milliseconds, or the time that its way to here takes."""


def places(wanted: int) -> int:
    """How many connections may be open: `wanted`, or what the limit on open files leaves for them."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return wanted
    free = limit - psutil.Process().num_fds() - SPARE_DESCRIPTORS
    return min(wanted, max(LEAST_PLACES, free // DESCRIPTORS_A_CONNECTION))


class Listener:
    """Accepts from bound sockets until closed. It closes none of them.

    make_room: called when no descriptor is left for a connection. tls: None for plain HTTP; a client has `handshake_s`
    for its handshake.
    """

    def __init__(
        self,
        sockets: list[socket.socket],
        make: Callable[[], asyncio.Protocol],
        make_room: Callable[[], object],
        tls: ssl.SSLContext | None = None,
        handshake_s: float = 5.0,
    ) -> None:
        self._tls, self._handshake_s = tls, handshake_s if tls else None
        self._loop, self._make, self._make_room = asyncio.get_running_loop(), make, make_room
        self._sockets = sockets
        self._tasks: dict[asyncio.Task[object], str] = {}
        """Each with its client, oldest first."""
        self._retry: asyncio.TimerHandle | None = None
        for listener in sockets:
            listener.setblocking(False)
            listener.listen(BACKLOG)
        self._resume()

    def close(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
        self._pause()

    def _resume(self) -> None:
        for listener in self._sockets:
            self._loop.add_reader(listener, self._accept, listener)

    def _pause(self) -> None:
        for listener in self._sockets:
            self._loop.remove_reader(listener)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTS_A_ROUND):
            try:
                accepted, address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptor or no memory is left
                log.warning("no connection can be accepted: %s", error.strerror)
                self._make_room()
                self._pause()
                self._retry = self._loop.call_later(RETRY_S, self._resume)
                return
            if self._tls and len(self._tasks) >= HANDSHAKES:
                self._end_a_handshake()
            task = self._loop.create_task(self._connect(accepted))
            self._tasks[task] = client_of({"client": address})
            task.add_done_callback(functools.partial(self._made, accepted))

    def _end_a_handshake(self) -> None:
        most = Counter(self._tasks.values()).most_common(1)[0][0]
        oldest = next(task for task, client in self._tasks.items() if client == most)
        del self._tasks[oldest]  # now, because it ends only in the next round
        oldest.cancel()

    def _made(self, accepted: socket.socket, task: asyncio.Task[object]) -> None:
        self._tasks.pop(task, None)
        if task.cancelled():  # perhaps before it began
            accepted.close()

    async def _connect(self, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._make, accepted, ssl=self._tls, ssl_handshake_timeout=self._handshake_s
            )
        except OSError as error:  # no TLS, one that trusts nobody, or too slow
            log.debug("a connection was not made: %s", error)
