"""Runs the application with uvicorn: a deadline for request headers, a quick shutdown, signals left to the caller."""

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from pp1_orchestrator.server.port import bind
from pp1_orchestrator.server.server_settings import Limits

SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
    listener = bind(host, port)
    server = HttpServer(app, limits or Limits(), on_started, on_signal)
    on_server(server)
    try:
        server.run(sockets=[listener])
    finally:
        listener.close()
