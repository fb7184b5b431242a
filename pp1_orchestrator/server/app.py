"""Puts the parts of the HTTP interface together into one ASGI application."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Callable

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.events import EventBus
from pp1_orchestrator.server.auth import AccessGuard
from pp1_orchestrator.server.control_lease import ControlGuard, Leases
from pp1_orchestrator.server.openapi import describe, methods_at
from pp1_orchestrator.server.path_allowlist import INTERFACE, PathAllowlist
from pp1_orchestrator.server.rate_limit import RateLimit
from pp1_orchestrator.server.requests import BodyLimit
from pp1_orchestrator.server.responses import error_reply, not_possible, nothing_at
from pp1_orchestrator.server.routes.clip_routes import Clips, clip_routes
from pp1_orchestrator.server.routes.health_routes import document_routes, health_routes
from pp1_orchestrator.server.routes.lease_routes import lease_routes
from pp1_orchestrator.server.routes.stream_routes import stream_routes
from pp1_orchestrator.server.routes.timeline_routes import timeline_routes
from pp1_orchestrator.server.routes.whep_routes import Peers, whep_routes
from pp1_orchestrator.server.schemas import LeaseState
from pp1_orchestrator.server.server_settings import ServerSettings
from pp1_orchestrator.server.sse import EventStreams, event_routes
from pp1_orchestrator.types import Limited, StreamControl

log = logging.getLogger(__name__)
Mount = Callable[[FastAPI], None]


def create_app(
    stream: StreamControl,
    peers: Peers,
    clips: Clips,
    events: EventBus,
    registry: CollectorRegistry,
    settings: ServerSettings,
    mount_panel: Mount | None = None,
    on_limited: Callable[[Limited], None] = lambda _: None,
) -> FastAPI:
    """The whole interface. `mount_panel` adds the page at `/` (`ui.mount_panel`); without it there is none.
    on_limited: told of each request that came too often.

    `app.state.drain()` lets viewers and event streams go, so that a shutdown need not wait for them.
    """
    streams = EventStreams(events, settings.limits)
    leases = Leases(settings.limits.lease_s, settings.limits.lease_waiting, functools.partial(_tell, events))

    async def drain() -> None:
        streams.close_all()
        await peers.close_all()

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        peers.start()
        yield
        await drain()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None, generate_unique_id_function=_name)
    app.state.drain = drain
    app.state.document = functools.cache(lambda: describe(app.routes, settings))
    app.add_middleware(ControlGuard, leases=leases)
    app.add_middleware(PathAllowlist)
    app.add_middleware(BodyLimit, limits=settings.limits)
    app.add_middleware(RateLimit, limits=settings.limits, on_limited=on_limited)
    app.add_middleware(AccessGuard, settings=settings)  # added last: runs first
    app.add_exception_handler(RequestError, _refused)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _failed)
    app.include_router(whep_routes(peers))
    app.include_router(stream_routes(stream, peers, clips, leases, settings.limits))
    app.include_router(timeline_routes(stream))
    app.include_router(clip_routes(clips))
    app.include_router(lease_routes(leases, settings.limits))
    app.include_router(event_routes(streams))
    app.include_router(health_routes(stream, registry))
    app.include_router(document_routes(app.state.document))
    for prefix in INTERFACE:  # else the page is asked for whatever no route fits wholly: a wrong method, too
        app.router.routes.append(Route(prefix + "{rest:path}", Elsewhere(), include_in_schema=False))
    if mount_panel is not None:
        mount_panel(app)
    return app


def _tell(events: EventBus, reason: str, now: LeaseState) -> None:
    events.publish("lease", reason=reason, holder=now.holder and now.holder.id, waiting=len(now.waiting))


def _name(route: APIRoute) -> str:
    """What a generated client calls a route."""
    return route.name


async def _refused(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return _not_routed(request, error)
    assert isinstance(error, RequestError)
    return error_reply(str(error), error.status)


def _not_routed(request: Request, error: HTTPException) -> Response:
    if error.status_code in {404, 405}:
        return _elsewhere(request)
    return error_reply(str(error.detail), error.status_code)


def _elsewhere(request: Request) -> Response:
    """405 for a path of the interface, 404 for any other one."""
    method, path = request.method, request.url.path
    allowed = methods_at(path, request.app.state.document())
    return not_possible(method, path, ", ".join(allowed)) if allowed else nothing_at(path)


class Elsewhere:
    """An endpoint for all methods."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _elsewhere(Request(scope))(scope, receive, send)


async def _failed(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_reply("internal error", 500)
