"""Routes of WHEP: an SDP offer in, an SDP answer out, and the address at which to end the session."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from pydantic import WithJsonSchema
from starlette.responses import Response

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.server.openapi import SDP, content, errors
from pp1_orchestrator.server.rate_limit import client_of, limited
from pp1_orchestrator.server.requests import StrictRoute
from pp1_orchestrator.types import ViewerControl

Offer = Annotated[bytes, Body(media_type=SDP), WithJsonSchema({"type": "string", "pattern": "^v="})]
LOCATION = {"description": "Where to end the session", "required": True, "schema": {"type": "string"}}
ANSWER: Any = {201: content("The answer", SDP) | {"headers": {"Location": LOCATION}}}


def whep_routes(peers: ViewerControl) -> APIRouter:
    """The two routes of WHEP."""
    router = APIRouter(route_class=StrictRoute, default_response_class=Response, tags=["video"])

    @router.post("/whep", status_code=201, summary="Watch", responses=ANSWER | errors(400, 408, 413, 415, 429, 503))
    @limited("offers")
    async def watch(request: Request, offer: Offer) -> Response:
        """WHEP: the body is a WebRTC offer to receive video. The answer has all candidates; there is no trickle ICE."""
        try:
            sdp = offer.decode("utf-8")
        except UnicodeDecodeError:
            raise RequestError("the offer is not UTF-8", status=400) from None
        viewer_id, answer = await peers.offer(sdp, client_of(request.scope))
        return Response(answer, 201, {"Location": f"{request.scope['root_path']}/whep/{viewer_id}"}, media_type=SDP)

    @router.delete("/whep/{viewer_id}", summary="Stop watching", responses=errors(404, 408, 413))
    async def leave(viewer_id: str) -> Response:
        """Ends a session at the address in `Location`. The server also notices viewers that leave without this."""
        if not await peers.close(viewer_id):
            raise RequestError("there is no such viewer; it may have gone already", status=404)
        return Response(status_code=200)

    return router
