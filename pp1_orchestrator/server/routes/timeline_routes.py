"""Routes of the timeline: changes planned for later chunks, and past ones: the recording, and the history."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Body
from starlette.responses import Response, StreamingResponse

from pp1_orchestrator import types
from pp1_orchestrator.server import schemas
from pp1_orchestrator.server.openapi import BODY_ERRORS, errors
from pp1_orchestrator.server.rate_limit import limited
from pp1_orchestrator.server.requests import StrictRoute
from pp1_orchestrator.types import StreamControl

PLAN = {"entries": [{"chunk": 0, "prompt": "a green star on a black background"}, {"chunk": 8, "cut": "hard"}]}
PIECE_BYTES = 16 * 1024
PLANS: Any = {"two changes": {"value": PLAN}}


class UpdateHistory(schemas.Schema):
    """Updates, the newest first. Each has `prompt` or `prompts`."""

    updates: list[schemas.PromptUpdate]


def timeline_routes(stream: StreamControl, may_change: Any) -> APIRouter:
    """Timeline and recording."""
    router = APIRouter(route_class=StrictRoute, tags=["timeline"])

    @router.get("/api/timeline", summary="What is still to come", response_model=schemas.Entries)
    async def planned() -> Response:
        """The entries that have not been reached, by chunk of the stream."""
        return _entries(stream.timeline())

    @router.put("/api/timeline", summary="Plan changes", dependencies=[may_change], responses=errors(409, *BODY_ERRORS))
    @limited("changes")
    async def plan(
        timeline: Annotated[schemas.TimelineBody, Body(openapi_examples=PLANS)],
    ) -> schemas.TimelineAccepted:
        """Replaces everything that is planned. The server runs the timeline; no client has to stay connected."""
        entries = tuple(entry.convert(types.TimelineEntry) for entry in timeline.entries)
        first = stream.set_timeline(entries, timeline.relative)
        return schemas.TimelineAccepted(state="accepted", entries=len(entries), first_chunk=first)

    @router.delete(
        "/api/timeline", summary="Plan nothing", dependencies=[may_change], responses=errors(408, 409, 413, 429)
    )
    @limited("changes")
    async def clear() -> schemas.TimelineCleared:
        """Removes all entries that have not been reached."""
        stream.set_timeline((), relative=True)
        return schemas.TimelineCleared(state="accepted", entries=0)

    @router.get("/api/recording", summary="What has happened", response_model=schemas.Entries)
    async def recording() -> Response:
        """A timeline that gives the same latents again when it is replayed from chunk 0."""
        return _entries(stream.recording())

    @router.get("/api/history", summary="What was shown", response_model=UpdateHistory)
    async def history() -> Response:
        """The newest updates, each once, the newest first. Unlike a recording it outlasts the program."""
        return Response(msgspec.json.encode({"updates": stream.history()}), media_type="application/json")

    return router


def _entries(entries: Sequence[types.TimelineEntry]) -> Response:
    """Encoded here: FastAPI would first validate each of thousands of entries. In pieces, and each only when the client
    takes it: thousands of entries with the longest prompts are more than 100 MB."""
    return StreamingResponse(_pieces(entries), media_type="application/json")


async def _pieces(entries: Sequence[types.TimelineEntry]) -> AsyncIterator[bytes]:
    piece, comma = bytearray(b'{"entries":['), b""
    for entry in entries:
        piece += comma + msgspec.json.encode(entry)
        comma = b","
        if len(piece) >= PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
            await asyncio.sleep(0)  # others have a turn, and the end of the connection is noticed
    yield bytes(piece + b"]}")
