"""Routes for viewers: a page with the picture alone, and the link to it that an operator hands out."""

import asyncio
from typing import Annotated
from urllib.parse import quote, urljoin, urlsplit

import segno
from fastapi import APIRouter, Query
from starlette.responses import HTMLResponse, Response

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.media.loopback import is_loopback_host
from pp1_orchestrator.server import schemas
from pp1_orchestrator.server.openapi import Responses, content, errors
from pp1_orchestrator.server.requests import StrictRoute
from pp1_orchestrator.server.responses import MAX_ECHO_CHARS
from pp1_orchestrator.server.server_settings import ServerSettings

WATCH: Responses = {200: content("The page", "text/html")}
MAX_PAGE_CHARS = 500
OPEN, SIGN_IN = (
    "Whoever has this link can watch, and change nothing.",
    "Viewers need the token: set serving.view_token.",
)
LOCAL = "This link works on this machine only. Open the page under the address at which viewers reach it."


def share_routes(settings: ServerSettings, watch_page: str) -> APIRouter:
    """The page and the link. watch_page: HTML."""
    router = APIRouter(route_class=StrictRoute, tags=["video"])

    @router.get("/watch", summary="The picture alone", response_class=Response, responses=WATCH)
    async def watch_alone(fit: str = "contain") -> Response:
        """A page for projectors and for OBS: black around the picture, no cursor, reconnects for as long as it is open.
        `fit=cover` fills the window."""
        return HTMLResponse(watch_page)

    @router.get("/api/share", summary="A link for viewers", responses=errors(422))
    async def share(page: Annotated[str, Query(max_length=MAX_PAGE_CHARS)]) -> schemas.Share:
        """page: the address below which this server is reached, as the browser has it."""
        link, host = _beside(page)
        token = settings.view_token
        link += f"?token={quote(token, safe='')}" if token else ""
        return schemas.Share(link=link, qr=await asyncio.to_thread(_code, link), note=_note(settings, host))

    return router


def _beside(page: str) -> tuple[str, str]:
    """Where the page with the picture alone is, and the host. Raises RequestError for what is no address of a page."""
    try:
        parts = urlsplit(page)
        if parts.scheme in ("http", "https") and parts.hostname:
            return urljoin(page, "watch"), parts.hostname
    except ValueError:  # no address at all
        pass
    raise RequestError(f"page={page[:MAX_ECHO_CHARS]!r} is no address of a page: it must start with http")


def _code(link: str) -> str:
    """A QR code, as the address of an image. Takes some 50 ms for a long link."""
    return segno.make(link, micro=False, error="m").svg_data_uri(scale=8, border=2)


def _note(settings: ServerSettings, host: str) -> str:
    """host: by which the page was asked for. A server on all addresses prints one of loopback."""
    if is_loopback_host(host):
        return LOCAL
    if settings.view_token:
        return OPEN
    return SIGN_IN
