"""Recording what viewers see, and fetching it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal, Protocol

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import FileResponse, Response

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.server import schemas as answers
from pp1_orchestrator.server.describe import BODY, MP4, STRING, Described, gives, refuses, takes
from pp1_orchestrator.server.requests import read_json
from pp1_orchestrator.server.responses import UNSTORED, json_reply
from pp1_orchestrator.types import Clip

COMMANDS = {"start": {"action": "start"}, "stop": {"action": "stop"}}
CLIP_ID = {"name": "clip_id", "in": "path", "required": True, "schema": STRING}


class Clips(Protocol):
    """Records clips and keeps them (`media.clips.ClipRecorder`)."""

    def start(self) -> Clip: ...

    def stop(self) -> Clip: ...

    def clips(self) -> list[Clip]: ...

    def newest(self) -> Clip | None: ...

    def file(self, name: str) -> Path | None: ...


class ClipCommand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """start begins with the picture that is shown now; stop ends it, which also happens by itself at its limits."""

    action: Literal["start", "stop"]


def clip_routes(clips: Clips) -> APIRouter:
    """The clips and their files."""
    router = APIRouter(default_response_class=Response, tags=["clips"])

    @router.get("/api/clips", summary="What was recorded", responses=gives(answers.Clips, "The clips"))
    async def listed() -> Response:
        """The clips that are kept, oldest first."""
        return json_reply(answers.Clips(clips.clips()), headers=UNSTORED)

    @router.post(
        "/api/clips",
        summary="Start or stop recording",
        openapi_extra=takes(ClipCommand, COMMANDS),
        responses=gives(Clip, "The clip") | refuses(409, 503, *BODY),
    )
    async def record(request: Request) -> Response:
        """One clip is recorded at a time, as viewers see it: in real time, pauses included. A stop is answered when the
        file is complete."""
        command = await read_json(request, ClipCommand)
        act = {"start": clips.start, "stop": clips.stop}[command.action]
        return json_reply(await asyncio.to_thread(act))

    @router.get(
        "/api/clips/{clip_id}",
        summary="A clip's file",
        openapi_extra={"parameters": [CLIP_ID]},
        responses=_file() | refuses(404),
    )
    async def fetch(request: Request) -> Response:
        """An MP4 file. Ranges of it can be asked for, so that a player can seek."""
        name = request.path_params["clip_id"]
        path = clips.file(name)
        if path is None:
            raise RequestError("there is no such clip that is ready; /api/clips lists what there is", status=404)
        return FileResponse(path, media_type=MP4, filename=f"pp1-{name}.mp4")

    return router


def _file() -> Described:
    content = {MP4: {"schema": {"type": "string", "format": "binary"}}}
    return {
        200: {"description": "The file", "content": content},
        206: {"description": "A part of it", "content": content},
    }
