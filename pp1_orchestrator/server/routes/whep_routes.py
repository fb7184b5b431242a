"""Routes of WHEP: an SDP offer in, an SDP answer out, the address at which to end the session, and ICE servers."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from pydantic import WithJsonSchema
from starlette.responses import Response

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.media.ice_servers import IceServer
from pp1_orchestrator.server.openapi import SDP, content, errors
from pp1_orchestrator.server.rate_limit import client_of, limited
from pp1_orchestrator.server.requests import StrictRoute
from pp1_orchestrator.types import ViewerControl

Offer = Annotated[bytes, Body(media_type=SDP), WithJsonSchema({"type": "string", "pattern": "^v="})]
LOCATION = {"description": "Where to end the session", "required": True, "schema": {"type": "string"}}
LINK = {"description": "A STUN or TURN server, if there is any (RFC 9725)", "schema": {"type": "string"}}
ANSWER: Any = {201: content("The answer", SDP) | {"headers": {"Location": LOCATION, "Link": LINK}}}
SERVERS: Any = {204: {"description": "How to watch", "headers": {"Link": LINK}}}


def whep_routes(peers: ViewerControl, ice_servers: Sequence[IceServer]) -> APIRouter:
    """The three routes of WHEP."""
    links = [link for server in ice_servers for link in server.links()]
    router = APIRouter(route_class=StrictRoute, default_response_class=Response, tags=["video"])

    def linked(response: Response) -> Response:
        for link in links:
            response.headers.append("Link", link)
        return response

    @router.post("/whep", status_code=201, summary="Watch", responses=ANSWER | errors(400, 408, 413, 415, 429, 503))
    @limited("offers")
    async def watch(request: Request, offer: Offer) -> Response:
        """WHEP: the body is a WebRTC offer to receive video. The answer has all candidates; there is no trickle ICE."""
        try:
            sdp = offer.decode("utf-8")
        except UnicodeDecodeError:
            raise RequestError("the offer is not UTF-8", status=400) from None
        viewer_id, answer = await peers.offer(sdp, client_of(request.scope))
        return linked(Response(answer, 201, {"Location": f"{request.scope['root_path']}/whep/{viewer_id}"}, SDP))

    @router.options("/whep", status_code=204, summary="ICE servers", responses=SERVERS | errors(408, 413))
    async def servers() -> Response:
        """The STUN and TURN servers of the answer's `Link` headers, for clients that want them before their offer."""
        return linked(Response(None, 204, {"Allow": "OPTIONS, POST", "Accept-Post": SDP}))

    @router.delete("/whep/{viewer_id}", summary="Stop watching", responses=errors(404, 408, 413))
    async def leave(viewer_id: str) -> Response:
        """Ends a session at the address in `Location`. The server also notices viewers that leave without this."""
        if not await peers.close(viewer_id):
            raise RequestError("there is no such viewer; it may have gone already", status=404)
        return Response(status_code=200)

    return router
