"""A connection that has become a WebSocket: what its client may send, and how little is kept for one that is slow."""

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from pp1_orchestrator.media.viewer_limits import TokenBucket

MESSAGE_BYTES = 1024
"""Of the longest message that a client may send: it has nothing but reports to send."""
SENT_BYTES_S, SENT_BYTES = 16_000, 32_000
"""What a client may send in a second and at once, with `READ_COST` for each read. A page sends 4 reports a second."""
READ_COST = 200
BUFFERED_BYTES = 16 * 1024
"""What waits here for a client, and in the kernel without having been sent. What is more waits as packets, which can be
dropped."""


class WebSocketConnection(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, bounded. A client that sends too much is cut off: even the answers to its pings pile up.

    on_lost: called when the connection has ended.
    """

    on_lost: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._budget = TokenBucket(SENT_BYTES_S, SENT_BYTES)
        cast(asyncio.Transport, transport).set_write_buffer_limits(high=BUFFERED_BYTES)
        opened = transport.get_extra_info("socket")
        if opened is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, BUFFERED_BYTES)

    def data_received(self, data: bytes) -> None:
        if self.handshake_initiated and not self._budget.take(READ_COST + len(data)):
            self.transport.abort()
            return
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()

    @property
    def is_slow(self) -> bool:
        """Whether something waits here for the client."""
        return not self.writable.is_set()
