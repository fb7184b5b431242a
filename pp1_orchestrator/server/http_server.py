"""Runs the application with uvicorn: connections of its own, a quick shutdown, signals left to the caller."""

import contextlib
import socket
import ssl
from collections.abc import Callable, Generator

import uvicorn
from fastapi import FastAPI

from pp1_orchestrator.server.connections import Connections, HttpConnection
from pp1_orchestrator.server.listener import Listener, places
from pp1_orchestrator.server.server_settings import Limits
from pp1_orchestrator.server.websocket import MESSAGE_BYTES, WebSocketConnection

LATE_TICKS = 5
"""uvicorn ticks every 0.1 s."""


class HttpServer(uvicorn.Server):
    """uvicorn, except that viewers and event streams do not delay its shutdown, and signals are left to the caller."""

    def __init__(
        self, app: FastAPI, limits: Limits, on_started: Callable[[], None], tls: ssl.SSLContext | None = None
    ) -> None:
        """on_started: called when the server accepts requests. tls: None for plain HTTP."""
        super().__init__(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                server_header=False,
                ws=WebSocketConnection,
                ws_max_size=MESSAGE_BYTES,
                ws_per_message_deflate=False,
                ws_ping_interval=None,  # the viewers' reports tell more than an answered ping
                proxy_headers=False,  # the application does it, for the proxies that it believes
                forwarded_allow_ips=[],  # these two are not taken from the environment
                workers=1,
                log_config=None,
                timeout_keep_alive=limits.header_s,
                h11_max_incomplete_event_size=limits.header_bytes,
                timeout_graceful_shutdown=limits.shutdown_s,
            )
        )
        self._app, self._limits, self._on_started, self._tls = app, limits, on_started, tls

    def stop(self) -> None:
        """Make the server end soon. Thread-safe."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([])
        if self.started:
            self._connections = Connections(self._limits, places(self._limits.connections))
            make_room, handshake_s = self._connections.make_room, self._limits.header_s
            self._listener = Listener(sockets or [], self._make_connection, make_room, self._tls, handshake_s)
            self._on_started()

    async def on_tick(self, counter: int) -> bool:
        if counter % LATE_TICKS == 0:
            self._connections.end_late()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._listener.close()
        await self._app.state.drain()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Captures none: the caller has handlers that call `stop`."""
        yield

    def _make_connection(self) -> HttpConnection:
        return HttpConnection(self._connections, self.config, self.server_state, self.lifespan.state)
