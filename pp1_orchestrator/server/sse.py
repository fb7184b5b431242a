"""Events of the stream as server-sent events. Each client has one bounded queue, that of the event bus."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from weakref import WeakKeyDictionary

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.event_bus import Event, EventBus
from pp1_orchestrator.server.openapi import EVENTS, Responses, content, errors
from pp1_orchestrator.server.rate_limit import client_of
from pp1_orchestrator.server.server_settings import Limits

OPENING = "retry: 1000\n: the stream's events follow\n\n"
HEARTBEAT = ": still here\n\n"
EVENT_STREAM: Responses = {200: content("Server-sent events without an end", EVENTS)} | errors(503)


def as_sse(event: Event) -> str:
    """`id`, `event`, and one line of JSON that has both again."""
    return f"id: {event['id']}\nevent: {event['event']}\ndata: {msgspec.json.encode(event).decode()}\n\n"


class EventStreams:
    """All open event streams. Belongs to one event loop; events may be published from any thread."""

    def __init__(self, bus: EventBus, limits: Limits) -> None:
        self._bus, self._limits = bus, limits
        self._wakes: WeakKeyDictionary[asyncio.Event, str] = WeakKeyDictionary()
        """One for each open stream, with its client. Weak: a stream whose client leaves before it starts is only
        garbage-collected."""
        self._closing = False

    def open(self, client: str = "") -> AsyncIterator[str]:
        """Events from now on, for a new stream. Raises RequestError 503 when too many are open."""
        share = self._limits.event_streams_per_client
        if list(self._wakes.values()).count(client) >= share:
            raise RequestError(f"at most {share} event streams of one address are open", status=503)
        if len(self._wakes) >= self._limits.event_streams or self._closing:
            raise RequestError(f"at most {self._limits.event_streams} event streams are open", status=503)
        wake = asyncio.Event()
        self._wakes[wake] = client  # here, because other clients may come before this stream starts
        return self._stream(wake)

    def close_all(self) -> None:
        """End all streams."""
        self._closing = True
        for wake in self._wakes:
            wake.set()

    async def _stream(self, wake: asyncio.Event) -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()

        def wake_from_any_thread() -> None:
            with contextlib.suppress(RuntimeError):  # the event loop has ended
                loop.call_soon_threadsafe(wake.set)

        subscription = self._bus.subscribe(wake_from_any_thread)
        try:
            yield OPENING
            while True:
                wake.clear()
                closing = self._closing  # before the events are read: what was published by then is still sent
                events = subscription.drain()
                if events:
                    yield "".join(map(as_sse, events))
                if closing:
                    return
                if events:
                    continue
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(wake.wait(), self._limits.heartbeat_s)
                if not wake.is_set():
                    yield HEARTBEAT
        finally:
            self._wakes.pop(wake, None)
            self._bus.unsubscribe(subscription)


def event_routes(streams: EventStreams) -> APIRouter:
    """The route of the event stream."""
    router = APIRouter(tags=["stream"])

    @router.get("/api/events", summary="Follow what happens", response_class=Response, responses=EVENT_STREAM)
    async def follow(request: Request) -> Response:
        """`event` names the kind of event. `data` is one line of JSON that fits the schema with that `event`:
        PromptAcceptedEvent, Applied, Visible, Superseded, Failed, ControlApplied, TimelineReplaced, LeaseChanged,
        ClipChanged, Epoch, RankState, Restarting, Restarted or MediaChanged. Only events after the request are sent. A
        client that reads too slowly loses the oldest ones."""
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        stream = iter("") if request.method == "HEAD" else streams.open(client_of(request.scope))
        return StreamingResponse(stream, media_type=EVENTS, headers=headers)

    return router
