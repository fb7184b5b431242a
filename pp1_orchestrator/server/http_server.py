"""Takes a TCP port, or says why not. Few imports: it is asked before anything slow is.

HTTP/1.1 as uvicorn speaks it, except that a request's headers have a deadline however they trickle in.

Runs the application: takes the port, serves, and ends quickly and cleanly.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import h11
import psutil
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.media.sdp import LOCAL_NAMES
from pp1_orchestrator.server.server_settings import Limits


def bind(host: str, port: int) -> socket.socket:
    """Take a TCP port. Raises ConfigError that names serving.host or serving.port."""
    try:
        found = socket.getaddrinfo(LOCAL_NAMES.get(host, host), port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        taken = socket.socket(family, kind, protocol)
    except (OSError, OverflowError, UnicodeError) as error:
        raise ConfigError(f"serving.host={host}: it is no address of this machine ({error})") from error
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind(address)
    except OSError as error:
        taken.close()
        raise ConfigError(_why_not(host, port, error)) from error
    return taken


def check_port(host: str, port: int) -> str:
    """Find out early whether a port can be had, and which address the host's name stands for. Raises ConfigError."""
    with bind(host, port) as taken:
        return taken.getsockname()[0]


def _by_whom(port: int) -> str:
    """Which process listens there, where that may be known."""
    with contextlib.suppress(psutil.Error):
        for found in psutil.net_connections("tcp"):
            if found.status == psutil.CONN_LISTEN and found.laddr and found.laddr[1] == port and found.pid:
                return f" by {psutil.Process(found.pid).name()} (process {found.pid})"
    return ""


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        taken = f"already in use on {host}{_by_whom(port)}"
        return f"serving.port={port}: {taken}; free it or choose another, e.g. serving.port={port + 1}"
    if error.errno == errno.EACCES:
        return f"serving.port={port}: not permitted; choose one from 1024 to 65535"
    return f"serving.host={host}: can't listen there ({error.strerror})"


class HeaderTimeoutProtocol(H11Protocol):
    """Closes a connection whose headers are not complete `timeout_keep_alive` seconds after they began.

    uvicorn has this limit for silence between two requests only; a connection that never asks for anything would keep
    its place for ever.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Headers are awaited or complete."""
        if self.conn.their_state is not h11.IDLE:
            self._unwatch()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.timeout_keep_alive, self._give_up)

    def _unwatch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self.conn.their_state is h11.IDLE:
            self.transport.close()


log = logging.getLogger(__name__)
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class HttpServer(uvicorn.Server):
    """uvicorn, except that open viewers and event streams don't delay the end, and a signal is not raised again."""

    def __init__(
        self,
        app: FastAPI,
        limits: Limits,
        on_started: Callable[[], None],
        on_signal: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                server_header=False,
                ws="none",
                http=HeaderTimeoutProtocol,
                timeout_keep_alive=limits.header_s,
                h11_max_incomplete_event_size=limits.header_bytes,
                limit_concurrency=limits.connections,
                timeout_graceful_shutdown=limits.shutdown_s,
            )
        )
        self._app, self._on_started, self._on_signal = app, on_started, on_signal

    def stop(self) -> None:
        """End serving soon. Any thread may call this."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._app.state.drain()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM end the serving and nothing else: what happens after it is the caller's."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._end) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                if signal.getsignal(number) == self._end:
                    signal.signal(number, handler)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self.handle_exit(number, frame)
        self._on_signal()


def serve(
    app: FastAPI,
    host: str,
    port: int,
    limits: Limits | None = None,
    on_started: Callable[[], None] = lambda: None,
    on_server: Callable[[HttpServer], None] = lambda _: None,
    on_signal: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGINT, SIGTERM or `HttpServer.stop`, then return. Raises ConfigError when the port is taken.

    on_started: called once requests are answered; on_server: is given the server, for `stop` from another thread;
    on_signal: called in the main thread at a signal, and may put another handler in its place.
    """
    taken = bind(host, port)
    server = HttpServer(app, limits or Limits(), on_started, on_signal)
    on_server(server)
    try:
        server.run(sockets=[taken])
    finally:
        taken.close()
