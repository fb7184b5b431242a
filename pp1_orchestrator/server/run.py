"""Runs the application: takes the port, serves, and ends quickly and cleanly."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn
from fastapi import FastAPI

from pp1_orchestrator.server.port import bind
from pp1_orchestrator.server.protocol import PromptHeaders
from pp1_orchestrator.server.settings import Limits

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
                http=PromptHeaders,
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
