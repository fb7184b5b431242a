"""Binds a TCP port, or explains why that fails. Few imports, because it runs before anything slow.

uvicorn's HTTP/1.1 with a deadline for request headers, also when they arrive byte by byte.

Runs the application with uvicorn: binds the port, serves, and shuts down quickly.
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
    """Bind a TCP port. Raises ConfigError that names serving.host or serving.port."""
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
        raise ConfigError(_bind_error(host, port, error)) from error
    return taken


def check_port(host: str, port: int) -> str:
    """Check early that a port is free. Returns the address of `host`. Raises ConfigError."""
    with bind(host, port) as taken:
        return taken.getsockname()[0]


def _owner_of(port: int) -> str:
    """Which process listens on a port, if that is visible."""
    with contextlib.suppress(psutil.Error):
        for found in psutil.net_connections("tcp"):
            if found.status == psutil.CONN_LISTEN and found.laddr and found.laddr[1] == port and found.pid:
                return f" by {psutil.Process(found.pid).name()} (process {found.pid})"
    return ""


def _bind_error(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        taken = f"already in use on {host}{_owner_of(port)}"
        return f"serving.port={port}: {taken}; free it or choose another, e.g. serving.port={port + 1}"
    if error.errno == errno.EACCES:
        return f"serving.port={port}: not permitted; choose one from 1024 to 65535"
    return f"serving.host={host}: can't listen there ({error.strerror})"


class HeaderTimeoutProtocol(H11Protocol):
    """Closes a connection whose headers are not complete within `timeout_keep_alive` seconds.

    uvicorn applies this limit only between two requests; a connection that never sends one would stay open forever.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._update_deadline()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._update_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_deadline()
        super().connection_lost(exc)

    def _update_deadline(self) -> None:
        """Start the deadline while headers are incomplete, and cancel it when they are complete."""
        if self.conn.their_state is not h11.IDLE:
            self._cancel_deadline()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.timeout_keep_alive, self._on_deadline)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _on_deadline(self) -> None:
        self._deadline = None
        if self.conn.their_state is h11.IDLE:
            self.transport.close()


log = logging.getLogger(__name__)
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class HttpServer(uvicorn.Server):
    """uvicorn, except that viewers and event streams do not delay its shutdown, and it does not re-raise signals."""

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
        """Make the server end soon. Thread-safe."""
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
        """SIGINT and SIGTERM end serving only. uvicorn would raise them again; here the caller decides what follows."""
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
    """Serve until SIGINT, SIGTERM or `HttpServer.stop`, then return. Raises ConfigError when the port is in use.

    Args:
        on_started: called when the server accepts requests.
        on_server: called with the server, for a `stop` from another thread.
        on_signal: called in the main thread at a signal; it may install another handler.
    """
    taken = bind(host, port)
    server = HttpServer(app, limits or Limits(), on_started, on_signal)
    on_server(server)
    try:
        server.run(sockets=[taken])
    finally:
        taken.close()
