"""Puts the parts of the HTTP interface together into one ASGI application."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable

from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.responses import Response

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.events import EventBus
from pp1_orchestrator.ports import StreamControl
from pp1_orchestrator.server.access import AccessGuard
from pp1_orchestrator.server.bodies import BodyLimit
from pp1_orchestrator.server.replies import error_reply
from pp1_orchestrator.server.routes import (
    Peers,
    event_routes,
    health_routes,
    stream_routes,
    timeline_routes,
    whep_routes,
)
from pp1_orchestrator.server.settings import ServerSettings
from pp1_orchestrator.server.sse import EventStreams
from pp1_orchestrator.server.surface import Surface

log = logging.getLogger(__name__)
Mount = Callable[[FastAPI], None]


def create_app(
    stream: StreamControl,
    peers: Peers,
    events: EventBus,
    registry: CollectorRegistry,
    settings: ServerSettings,
    mount_panel: Mount | None = None,
) -> FastAPI:
    """The whole interface. `mount_panel` adds the page at `/` (`ui.mount_panel`); without it there is none.

    `app.state.drain()` lets viewers and event streams go, so that a shutdown need not wait for them.
    """
    streams = EventStreams(events, settings.limits)

    async def drain() -> None:
        streams.close_all()
        await peers.close_all()

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        peers.start()
        yield
        await drain()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.drain = drain
    app.add_middleware(Surface)
    app.add_middleware(BodyLimit, limits=settings.limits)
    app.add_middleware(AccessGuard, settings=settings)  # added last: runs first
    app.add_exception_handler(RequestError, _refused)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _failed)
    app.include_router(whep_routes(peers))
    app.include_router(stream_routes(stream, peers, settings.limits))
    app.include_router(timeline_routes(stream))
    app.include_router(event_routes(streams))
    app.include_router(health_routes(stream, registry))
    if mount_panel is not None:
        mount_panel(app)
    return app


async def _refused(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return error_reply(str(error.detail), error.status_code)
    assert isinstance(error, RequestError)
    return error_reply(str(error), error.status)


async def _failed(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_reply("internal error", 500)
