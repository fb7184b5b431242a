"""Routes of clips: recording what viewers see, and downloading it."""

import asyncio
import os
from typing import IO, Annotated, Any

from fastapi import APIRouter, Body
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from pp1_orchestrator import types
from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.media.clips import ClipRecorder
from pp1_orchestrator.server import schemas
from pp1_orchestrator.server.openapi import BODY_ERRORS, MP4, Responses, content, errors
from pp1_orchestrator.server.rate_limit import limited
from pp1_orchestrator.server.requests import StrictRoute

COMMANDS: Any = {"start": {"value": {"action": "start"}}, "stop": {"value": {"action": "stop"}}}
FILE: Responses = {200: content("The file", MP4, format="binary"), 206: content("A part of it", MP4, format="binary")}


def clip_routes(clips: ClipRecorder, may_change: Any) -> APIRouter:
    """The clips and their files."""
    router = APIRouter(route_class=StrictRoute, tags=["clips"])

    @router.get("/api/clips", summary="What was recorded", response_model=schemas.Clips)
    async def listed() -> dict[str, list[types.Clip]]:
        """The clips that are kept, oldest first."""
        return {"clips": clips.clips()}

    @router.post(
        "/api/clips",
        summary="Start or stop recording",
        response_model=schemas.Clip,
        dependencies=[may_change],
        responses=errors(409, 503, *BODY_ERRORS),
    )
    @limited("changes")
    async def record(command: Annotated[schemas.ClipCommand, Body(openapi_examples=COMMANDS)]) -> types.Clip:
        """One clip is recorded at a time, as viewers see it: in real time, pauses included. The response to a stop is
        sent when the file is complete."""
        act = {"start": clips.start, "stop": clips.stop}[command.action]
        return await asyncio.to_thread(act)

    @router.get("/api/clips/{clip_id}", summary="A clip's file", response_class=Response, responses=FILE | errors(404))
    async def fetch(clip_id: str) -> Response:
        """An MP4 file. Range requests are supported, so that a player can seek."""
        path = clips.file(clip_id)
        try:
            file = None if path is None else await asyncio.to_thread(path.open, "rb")
        except FileNotFoundError:  # deleted since
            file = None
        if file is None:
            raise RequestError("there is no such clip that is ready; /api/clips lists what there is", status=404)
        return OpenFileResponse(file, media_type=MP4, filename=f"pp1-{clip_id}.mp4")

    return router


class OpenFileResponse(FileResponse):
    """Sends a file that is open already, to its end even if it is deleted meanwhile, and closes it."""

    def __init__(self, file: IO[bytes], **options: Any) -> None:
        super().__init__(f"/dev/fd/{file.fileno()}", stat_result=os.fstat(file.fileno()), **options)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:
            await super().__call__(scope, receive, send)
