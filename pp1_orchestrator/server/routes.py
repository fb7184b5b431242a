"""The routes of the documented interface. Each is a few lines: check, hand over, answer."""

from __future__ import annotations

from typing import Protocol

import msgspec
from fastapi import APIRouter, Request
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.ports import Control, PromptUpdate, StreamControl, TimelineEntry
from pp1_orchestrator.server.bodies import read_json, require_type
from pp1_orchestrator.server.replies import json_reply
from pp1_orchestrator.server.settings import Limits
from pp1_orchestrator.server.sse import EventStreams

MAX_SEED = 2**63 - 1


class TimelineBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """relative: the entries' chunks count from the next one that can still be planned; otherwise from the start."""

    entries: tuple[TimelineEntry, ...]
    relative: bool = True


class Peers(Protocol):
    """Takes viewers in and lets them go (`media.peers.WhepPeers`)."""

    @property
    def count(self) -> int: ...

    def start(self) -> None: ...

    async def offer(self, sdp: str) -> tuple[str, str]: ...

    async def close(self, viewer_id: str) -> bool: ...

    async def close_all(self) -> None: ...


def whep_routes(peers: Peers) -> APIRouter:
    """Watching: an SDP offer in, an answer out, and the address to end it at."""
    router = APIRouter()

    @router.post("/whep")
    async def watch(request: Request) -> Response:
        require_type(request, "application/sdp")
        try:
            offer = (await request.body()).decode("utf-8")
        except UnicodeDecodeError:
            raise RequestError("the offer is not UTF-8", status=400) from None
        viewer_id, answer = await peers.offer(offer)
        headers = {"Location": f"/whep/{viewer_id}"}
        return Response(answer, 201, headers, media_type="application/sdp")

    @router.delete("/whep/{viewer_id}")
    async def leave(viewer_id: str) -> Response:
        if not await peers.close(viewer_id):
            raise RequestError("there is no such viewer", status=404)
        return Response(status_code=200)

    return router


def stream_routes(stream: StreamControl, peers: Peers, limits: Limits) -> APIRouter:
    """What the stream does, and changing it."""
    router = APIRouter()

    @router.get("/api/state")
    async def state() -> Response:
        return json_reply(stream.state() | {"viewers": peers.count}, headers={"Cache-Control": "no-store"})

    @router.post("/api/prompt")
    async def prompt(request: Request) -> Response:
        update = await read_json(request, PromptUpdate)
        check_prompts(update, limits)
        return json_reply({"id": stream.update_prompt(update), "state": "accepted"})

    @router.post("/api/control")
    async def control(request: Request) -> Response:
        command = await read_json(request, Control)
        check_control(command)
        stream.control(command)
        return json_reply({"action": command.action, "state": "accepted"})

    return router


def timeline_routes(stream: StreamControl) -> APIRouter:
    """What is planned for chunks to come, and what has happened so far in the same words."""
    router = APIRouter()

    @router.get("/api/timeline")
    async def planned() -> Response:
        return json_reply({"entries": stream.timeline()}, headers={"Cache-Control": "no-store"})

    @router.put("/api/timeline")
    async def plan(request: Request) -> Response:
        timeline = await read_json(request, TimelineBody)
        first = stream.set_timeline(timeline.entries, timeline.relative)
        return json_reply({"entries": len(timeline.entries), "first_chunk": first, "state": "accepted"})

    @router.delete("/api/timeline")
    async def clear() -> Response:
        stream.set_timeline((), relative=True)
        return json_reply({"entries": 0, "state": "accepted"})

    @router.get("/api/recording")
    async def recording() -> Response:
        return json_reply({"entries": stream.recording()}, headers={"Cache-Control": "no-store"})

    return router


def event_routes(events: EventStreams) -> APIRouter:
    """What happens to the stream, as it happens."""
    router = APIRouter()

    @router.get("/api/events")
    async def follow() -> Response:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(events.open(), media_type="text/event-stream", headers=headers)

    return router


def health_routes(stream: StreamControl, registry: CollectorRegistry) -> APIRouter:
    """For machines that look after machines."""
    router = APIRouter()

    @router.get("/metrics")
    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": content_type})

    @router.get("/healthz")
    async def alive() -> Response:
        return PlainTextResponse("ok\n")

    @router.get("/readyz")
    async def ready() -> Response:
        return PlainTextResponse("ready\n") if stream.ready() else PlainTextResponse("not ready\n", 503)

    return router


def check_prompts(update: PromptUpdate, limits: Limits) -> None:
    """Raises RequestError when there is nothing to show, or too much."""
    texts = [weighted.text for weighted in update.prompts]
    texts += [] if update.prompt is None else [update.prompt]
    if not texts:
        raise RequestError("prompt is missing: give prompt or prompts")
    if len(texts) > limits.prompts:
        raise RequestError(f"prompts has {len(texts)} entries, at most {limits.prompts}")
    for text in texts:
        if not text.strip():
            raise RequestError("prompt is empty")
        if len(text) > limits.prompt_chars:
            raise RequestError(f"prompt has {len(text)} characters, at most {limits.prompt_chars}")


def check_control(command: Control) -> None:
    """Raises RequestError for a seed without a usable value, or a value without a seed."""
    if command.action != "seed":
        if command.value is not None:
            raise RequestError(f"value has no meaning for action={command.action}")
    elif command.value is None or not 0 <= command.value <= MAX_SEED:
        raise RequestError(f"value must be a seed from 0 to {MAX_SEED}")
