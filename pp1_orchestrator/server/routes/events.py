"""What happens to the stream, as it happens."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response, StreamingResponse

from pp1_orchestrator.server.describe import EVENTS, gives_text, refuses
from pp1_orchestrator.server.replies import UNSTORED
from pp1_orchestrator.server.sse import EventStreams


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
