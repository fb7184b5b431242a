"""Who has a place on the server, how long a connection may wait for its client, and which one makes room for another.

Knows nothing of routes, except that health is answered when nothing else is.
"""

import asyncio
import logging
from collections import deque
from typing import Any

import h11
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from pp1_orchestrator.media.loopback import is_loopback_host
from pp1_orchestrator.server.auth import HEALTH_PATHS
from pp1_orchestrator.server.rate_limit import client_of
from pp1_orchestrator.server.responses import error_reply
from pp1_orchestrator.server.server_settings import Limits
from pp1_orchestrator.server.websocket import WebSocketConnection

log = logging.getLogger(__name__)
CLOSE = {"Connection": "close"}
NO_HANDSHAKE = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
HEALTH = b"GET /healthz "
REQUESTS_A_ROUND = 4
"""So many are begun in a round of the event loop; each takes a few milliseconds of it."""
MOST_HEADERS = 100
"""Of a request. Who answers looks through them again and again."""
PART_BYTES = 1024
"""Parsed at a time, because a body in chunks of one byte takes a hundred times as long as one in a piece."""


class Connections:
    """All open connections. Belongs to one event loop.

    places: how many may be open. A new one above that takes the place of the connection that has waited longest for its
    client: one without a request before one whose client does not read or send. If all others are being worked for, the
    new one is asked for its health request only, and so are at most `limits.spare_connections` like it,
    or as many as there are places, if the system leaves fewer of these than `limits.connections`.
    """

    def __init__(self, limits: Limits, places: int) -> None:
        self.limits, self._most = limits, places
        # Where the limit on open files leaves fewer places, it leaves one file more for each of them.
        self._most_spare = limits.spare_connections if places >= limits.connections else places
        self._placed: dict[HttpConnection, str] = {}
        """Each connection with its client, oldest first."""
        self._spare: dict[HttpConnection, None] = {}
        self._asking: deque[HttpConnection] = deque()
        """Connections with something to parse, in order."""

    def add(self, connection: "HttpConnection", client: str) -> bool:
        """False if there is no place: the connection may only ask for health."""
        share = None if is_loopback_host(client) else self.limits.connections_per_client
        own = [other for other, owner in self._placed.items() if owner == client]
        is_over_share = share is not None and len(own) >= share
        if (is_over_share or len(self._placed) >= self._most) and not self.make_room(own if is_over_share else None):
            if len(self._spare) >= self._most_spare:
                silent = (other for other in self._spare if other.waits_since() is not None)
                oldest = next(silent, next(iter(self._spare)))
                self.remove(oldest)
                oldest.end()
            self._spare[connection] = None
            return False
        self._placed[connection] = client
        return True

    def make_room(self, among: "list[HttpConnection] | None" = None) -> bool:
        """End the connection that has waited longest. False if none waits."""
        waiting = [
            (*wait, number, connection)
            for number, connection in enumerate(self._placed if among is None else among)
            if (wait := connection.waits_since()) is not None
        ]
        if not waiting:
            log.warning("all %d places for connections are taken: a new one may only ask for health", self._most)
            return False
        log.warning("all places for connections are taken: those that have waited longest for their client make room")
        longest = min(waiting)[-1]
        self.remove(longest)
        longest.end()
        return True

    def remove(self, connection: "HttpConnection") -> None:
        self._placed.pop(connection, None)
        self._spare.pop(connection, None)

    def handle_soon(self, connection: "HttpConnection") -> None:
        """Have a connection parse what it has got, a few of them in each round of the event loop.

        Otherwise a crowd that asks in one moment, or a request that follows each answer, would hold health up.
        """
        if not self._asking:
            connection.loop.call_soon(self._handle_some, connection.loop)
        self._asking.append(connection)

    def _handle_some(self, loop: asyncio.AbstractEventLoop) -> None:
        some = [self._asking.popleft() for _ in range(min(len(self._asking), REQUESTS_A_ROUND))]
        if self._asking:
            loop.call_soon(self._handle_some, loop)
        for connection in some:
            try:
                connection.handle_now()
            except Exception:  # a client's boundary, as asyncio has one around the same call
                log.exception("a connection can't be handled")
                connection.transport.abort()

    def end_late(self) -> None:
        """End connections whose client has made the server wait too long. Call it a few times a second."""
        for connection in [*self._placed, *self._spare]:
            connection.end_if_late()


class HttpConnection(H11Protocol):
    """uvicorn's connection, with deadlines for what uvicorn waits for without an end: complete headers, the rest of a
    body that has been answered already, and a client that does not take its answer."""

    def __init__(self, connections: Connections, config: Config, state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config, state, app_state)
        self._connections, self._is_urgent = connections, False
        self._since_s = self.loop.time()
        """When the connection began to wait for a request or, with `waits_since`, for the rest of one."""
        self._asks = False
        """It waits for its turn to be parsed."""
        self._unparsed = bytearray()
        """What came and has not had its turn. While there is any, nothing more is read."""
        self._upgraded: WebSocketConnection | None = None
        self._blocked: tuple[float, int] | None = None
        """Since when the client has not taken its answer, and how many bytes of it were left then."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.app = few_headers(self.app)
        if not self._connections.add(self, client_of({"client": self.client})):
            self.app = only_health(self.app)
            self.ws_protocol_class = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._is_urgent = not self.cycle and not self._unparsed and data.startswith(HEALTH)  # a connection's first
        self._unset_keepalive_if_required()
        self._unparsed += data
        self.handle_events()

    def handle_events(self) -> None:
        """Called for each piece of data, and after each answer, when a request may be waiting."""
        if self._asks:
            return
        self._asks = True
        if self._is_urgent:
            self.handle_now()
        else:
            self.flow.pause_reading()
            self._connections.handle_soon(self)

    def handle_now(self) -> None:
        self._asks = self._is_urgent = False
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        was_idle = self._is_idle
        if self._unparsed and self._expects_more:
            self.conn.receive_data(bytes(self._unparsed[:PART_BYTES]))
            del self._unparsed[:PART_BYTES]
        super().handle_events()
        if was_idle and not self._is_idle:
            self._since_s = self.loop.time()
        if self._unparsed and self._upgraded is None:
            self.flow.pause_reading()
            if self._expects_more:
                self.handle_events()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """The place on the server is kept until the WebSocket ends."""
        super().handle_websocket_upgrade(event)
        upgraded = self.transport.get_protocol()
        assert isinstance(upgraded, WebSocketConnection)
        self._upgraded, upgraded.on_lost = upgraded, lambda: self._connections.remove(self)
        if not upgraded.handshake_initiated:  # such as one with a body: nothing else would ever end it
            self.transport.write(NO_HANDSHAKE)
            self.transport.close()

    def on_response_complete(self) -> None:
        self._since_s = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        self._since_s = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._blocked = None
        super().resume_writing()

    def waits_since(self) -> tuple[bool, float] | None:
        """Whether there is a request, and since when its client has been waited for. None if it is not waited for."""
        if self._asks or self._upgraded is not None:
            return None  # a viewer has limits of its own
        if self._is_idle:
            return False, self._since_s
        if self.flow.write_paused or self.conn.their_state is h11.SEND_BODY:
            return True, self._since_s
        return None

    def end(self) -> None:
        """Close now, without waiting for the client to take what is left for it, or to agree, as TLS would."""
        if self.transport.get_write_buffer_size() or self.scheme == "https":
            self.transport.abort()
        else:
            self.transport.close()

    def end_if_late(self) -> None:
        limits, now_s = self._connections.limits, self.loop.time()
        if self._is_slow or self.transport.is_closing():
            self._blocked = self._blocked or (now_s, self.transport.get_write_buffer_size())
            since_s, left_bytes = self._blocked
            if now_s - since_s > limits.answer_s + left_bytes / limits.answer_bytes_s:
                self.transport.abort()
        elif self._upgraded is not None:
            self._blocked = None
        elif self._is_idle and now_s - self._since_s > limits.header_s:
            self.transport.close()

    @property
    def _expects_more(self) -> bool:
        """Whether a request may begin or go on. Otherwise what comes next waits for the answer to the one before."""
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)

    @property
    def _is_slow(self) -> bool:
        """Whether the client does not take what has been written for it."""
        return self.flow.write_paused if self._upgraded is None else self._upgraded.is_slow

    @property
    def _is_idle(self) -> bool:
        """Nothing is being answered. The rest of a body may still come that nobody waits for."""
        return not self.cycle or self.cycle.response_complete


def few_headers(app: ASGIApp) -> ASGIApp:
    """431 for a request with more headers than any client has a reason to send."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        refusal = error_reply(f"the request has more than {MOST_HEADERS} headers", 431, CLOSE)
        await (app if len(scope["headers"]) <= MOST_HEADERS else refusal)(scope, receive, send)

    return answer


def only_health(app: ASGIApp) -> ASGIApp:
    """503 for all other paths."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        refusal = error_reply("all connections of the server are in use", 503, CLOSE)
        await (app if scope["path"] in HEALTH_PATHS else refusal)(scope, receive, send)

    return answer
