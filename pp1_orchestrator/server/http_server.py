"""Runs the application with uvicorn: a deadline for request headers, a quick shutdown, signals left to the caller."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Generator

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from pp1_orchestrator.server.server_settings import Limits


class HeaderTimeoutProtocol(H11Protocol):
    """Closes a connection whose headers are not complete within `timeout_keep_alive` seconds.

    uvicorn applies this limit only between two requests; a connection that never sends one would stay open forever.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
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
            self._deadline = self.loop.call_later(self.timeout_keep_alive, self.transport.close)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class HttpServer(uvicorn.Server):
    """uvicorn, except that viewers and event streams do not delay its shutdown, and signals are left to the caller."""

    def __init__(self, app: FastAPI, limits: Limits, on_started: Callable[[], None]) -> None:
        """on_started: called when the server accepts requests."""
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
        self._app, self._on_started = app, on_started

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
    def capture_signals(self) -> Generator[None]:
        """Captures none: the caller has handlers that call `stop`."""
        yield
