"""Watching: an SDP offer in, an answer out, and the address to end it at."""

from __future__ import annotations

from typing import Protocol

from fastapi import APIRouter, Request
from starlette.responses import Response

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.server.describe import SDP, STRING, Described, gives_text, refuses, takes_text
from pp1_orchestrator.server.rate_limit import client_of
from pp1_orchestrator.server.requests import require_type

VIEWER_ID = {"name": "viewer_id", "in": "path", "required": True, "schema": STRING}


class Peers(Protocol):
    """Takes viewers in and lets them go (`media.peers.WhepPeers`)."""

    @property
    def count(self) -> int: ...

    def start(self) -> None: ...

    async def offer(self, sdp: str, address: str) -> tuple[str, str]: ...

    async def close(self, viewer_id: str) -> bool: ...

    async def close_all(self) -> None: ...


def whep_routes(peers: Peers) -> APIRouter:
    """The two routes of WHEP."""
    router = APIRouter(default_response_class=Response, tags=["video"])

    @router.post(
        "/whep",
        status_code=201,
        summary="Watch",
        openapi_extra=takes_text(SDP, "^v="),
        responses=_answer() | refuses(400, 408, 413, 415, 429, 503),
    )
    async def watch(request: Request) -> Response:
        """WHEP: the body is a WebRTC offer that receives video. All candidates of the answer are in it; there is no
        trickling."""
        require_type(request, SDP)
        try:
            offer = (await request.body()).decode("utf-8")
        except UnicodeDecodeError:
            raise RequestError("the offer is not UTF-8", status=400) from None
        viewer_id, answer = await peers.offer(offer, client_of(request.scope))
        headers = {"Location": f"/whep/{viewer_id}"}
        return Response(answer, 201, headers, media_type=SDP)

    @router.delete(
        "/whep/{viewer_id}",
        summary="Stop watching",
        openapi_extra={"parameters": [VIEWER_ID]},
        responses={200: {"description": "The viewer is gone"}} | refuses(404, 408, 413),
    )
    async def leave(request: Request) -> Response:
        """End a viewer at the address that `Location` gave. One that just goes away is noticed, too."""
        if not await peers.close(request.path_params["viewer_id"]):
            raise RequestError("there is no such viewer; it may have gone already", status=404)
        return Response(status_code=200)

    return router


def _answer() -> Described:
    described = gives_text("The answer", SDP, 201)
    described[201]["headers"] = {
        "Location": {"description": "Where the viewer can be ended", "required": True, "schema": dict(STRING)}
    }
    return described
