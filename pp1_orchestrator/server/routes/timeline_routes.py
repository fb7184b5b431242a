"""What is planned for chunks to come, and what has happened so far in the same words."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from pp1_orchestrator.server.describe import BODY, gives, refuses, takes
from pp1_orchestrator.server.requests import read_json
from pp1_orchestrator.server.responses import UNSTORED, json_reply
from pp1_orchestrator.server.schemas import Entries, TimelineAccepted, TimelineCleared
from pp1_orchestrator.types import StreamControl, TimelineEntry

PLANS = {
    "two changes": {
        "entries": [{"chunk": 0, "prompt": "a green star on a black background"}, {"chunk": 8, "cut": "hard"}]
    }
}


class TimelineBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """relative: the entries' chunks count from the next one that can still be planned; otherwise from the start."""

    entries: tuple[TimelineEntry, ...]
    relative: bool = True


def timeline_routes(stream: StreamControl) -> APIRouter:
    """Timeline and recording."""
    router = APIRouter(default_response_class=Response, tags=["timeline"])

    @router.get("/api/timeline", summary="What is still to come", responses=gives(Entries, "Planned changes"))
    async def planned() -> Response:
        """The entries that have not been reached, by chunk of the stream."""
        return json_reply(Entries(stream.timeline()), headers=UNSTORED)

    @router.put(
        "/api/timeline",
        summary="Plan changes",
        openapi_extra=takes(TimelineBody, PLANS),
        responses=gives(TimelineAccepted, "Taken") | refuses(*BODY),
    )
    async def plan(request: Request) -> Response:
        """Replaces all that is planned. The server runs it; nobody has to stay connected."""
        timeline = await read_json(request, TimelineBody)
        first = stream.set_timeline(timeline.entries, timeline.relative)
        return json_reply(TimelineAccepted(len(timeline.entries), first))

    @router.delete(
        "/api/timeline", summary="Plan nothing", responses=gives(TimelineCleared, "Cleared") | refuses(408, 413, 429)
    )
    async def clear() -> Response:
        """Forgets all changes to come."""
        stream.set_timeline((), relative=True)
        return json_reply(TimelineCleared(0))

    @router.get("/api/recording", summary="What has happened", responses=gives(Entries, "Changes that were made"))
    async def recording() -> Response:
        """A timeline that gives the same latents again when it is replayed from chunk 0."""
        return json_reply(Entries(stream.recording()), headers=UNSTORED)

    return router
