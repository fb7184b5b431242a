"""What happens to the stream, as it happens.

Events of the stream as server-sent events. Every client has the bus's bounded queue and nothing more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from weakref import WeakSet

import msgspec
from fastapi import APIRouter
from starlette.responses import Response, StreamingResponse

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.events import Event, EventBus
from pp1_orchestrator.server.describe import EVENTS, gives_text, refuses
from pp1_orchestrator.server.responses import UNSTORED
from pp1_orchestrator.server.server_settings import Limits

OPENING = "retry: 1000\n: the stream's events follow\n\n"
HEARTBEAT = ": still here\n\n"


def as_sse(event: Event) -> str:
    """`id`, `event` and one line of JSON that repeats both."""
    return f"id: {event['id']}\nevent: {event['event']}\ndata: {msgspec.json.encode(event).decode()}\n\n"


class EventStreams:
    """All open event streams. Belongs to one event loop; events may be published from any thread."""

    def __init__(self, bus: EventBus, limits: Limits) -> None:
        self._bus, self._limits = bus, limits
        self._wakes: WeakSet[asyncio.Event] = WeakSet()
        """One for each place. Weakly: a stream whose client goes before it begins never ends, it is only let go."""
        self._closing = False

    @property
    def count(self) -> int:
        return len(self._wakes)

    def open(self) -> AsyncIterator[str]:
        """A new client's events, from now on. Raises RequestError 503 when there are too many."""
        if self.count >= self._limits.event_streams or self._closing:
            raise RequestError(f"at most {self._limits.event_streams} event streams are open", status=503)
        wake = asyncio.Event()
        self._wakes.add(wake)  # now: others may ask before this one begins
        return self._stream(wake)

    def close_all(self) -> None:
        """End every stream now."""
        self._closing = True
        for wake in self._wakes:
            wake.set()

    async def _stream(self, wake: asyncio.Event) -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()

        def wake_from_any_thread() -> None:
            with contextlib.suppress(RuntimeError):  # the loop ended between the last event and this one
                loop.call_soon_threadsafe(wake.set)

        subscription = self._bus.subscribe(wake_from_any_thread)
        try:
            yield OPENING
            while not self._closing:
                wake.clear()
                events = subscription.drain()
                if events:
                    yield "".join(map(as_sse, events))
                elif not await _within(wake, self._limits.heartbeat_s):
                    yield HEARTBEAT
        finally:
            self._wakes.discard(wake)
            self._bus.unsubscribe(subscription)


async def _within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


def event_routes(events: EventStreams) -> APIRouter:
    """The one stream of events."""
    router = APIRouter(default_response_class=Response, tags=["stream"])

    @router.get(
        "/api/events",
        summary="Follow what happens",
        responses=gives_text("Server-sent events without an end", EVENTS) | refuses(503),
    )
    async def follow() -> Response:
        """`event` names the kind; `data` is one line of JSON, which fits the schema with that `event`: Accepted,
        Applied, Visible, Superseded, Failed, Commanded, Planned, LeaseChanged, ClipChanged, Epoch, RankState,
        Restarting or Restarted. They begin with what happens after the request; past ones are not repeated. A client
        that reads too slowly loses the oldest ones."""
        headers = UNSTORED | {"X-Accel-Buffering": "no"}
        return StreamingResponse(events.open(), media_type=EVENTS, headers=headers)

    return router
