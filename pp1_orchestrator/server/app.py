"""Builds the ASGI application of the HTTP interface from its middleware and routes."""

import contextlib
import functools
import logging
import operator
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence, Set

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.event_bus import EventBus
from pp1_orchestrator.media.clips import ClipRecorder
from pp1_orchestrator.media.socket_viewers import SocketViewers
from pp1_orchestrator.server.auth import AccessGuard
from pp1_orchestrator.server.control_lease import ControlLease
from pp1_orchestrator.server.openapi import CREDENTIALS, document, errors
from pp1_orchestrator.server.path_allowlist import PathAllowlist, answer_head
from pp1_orchestrator.server.rate_limit import RateLimits
from pp1_orchestrator.server.requests import explain
from pp1_orchestrator.server.responses import error_reply, not_stored
from pp1_orchestrator.server.root_path import PROXIES, RootPath
from pp1_orchestrator.server.routes.clip_routes import clip_routes
from pp1_orchestrator.server.routes.health_routes import metrics_routes, probe_routes
from pp1_orchestrator.server.routes.lease_routes import lease_routes, may_change
from pp1_orchestrator.server.routes.share_routes import share_routes
from pp1_orchestrator.server.routes.sign_in_routes import sign_in_routes
from pp1_orchestrator.server.routes.socket_routes import socket_routes
from pp1_orchestrator.server.routes.source_routes import source_routes
from pp1_orchestrator.server.routes.stream_routes import stream_routes
from pp1_orchestrator.server.routes.timeline_routes import timeline_routes
from pp1_orchestrator.server.routes.whep_routes import whep_routes
from pp1_orchestrator.server.schemas import LeaseState
from pp1_orchestrator.server.server_settings import Limits, ServerSettings
from pp1_orchestrator.server.sse import EventStreams, event_routes
from pp1_orchestrator.server.tokens import Tokens
from pp1_orchestrator.types import (
    MAX_PROMPT_CHARS,
    MAX_PROMPTS,
    MAX_TRANSITION_STEPS,
    KnownClient,
    Limited,
    StreamControl,
    ViewerControl,
)

log = logging.getLogger(__name__)
MountPanel = Callable[[FastAPI, int, int, int], Set[str]]
"""Adds the page, and returns the paths of its files."""


def create_app(
    stream: StreamControl,
    peers: ViewerControl,
    clips: ClipRecorder,
    events: EventBus,
    registry: CollectorRegistry,
    settings: ServerSettings,
    mount_panel: MountPanel | None = None,
    on_limited: Callable[[Limited], None] = lambda _: None,
    sockets: SocketViewers | None = None,
    watch_page: str = "",
    clients: Sequence[KnownClient] = (),
) -> FastAPI:
    """The whole interface. `app.state.drain()` ends all viewers and event streams: no shutdown should wait for them.

    mount_panel: adds the page at `/` (`pp1_orchestrator.ui.mount_panel`); without it there is no page. on_limited:
    called for each request that a rate limit refuses. sockets: the viewers over WebSockets; without it there are none.
    watch_page: the page with the picture alone. clients: of the last run's lease; `app.state.known_clients` gives ours.
    """
    streams, lease = EventStreams(events, settings.limits), _make_lease(settings.limits, events, clients)
    changes, tokens = may_change(lease), Tokens(settings)

    def viewer_count() -> int:
        return peers.count + (sockets.count if sockets else 0)

    routers = (
        whep_routes(peers, settings.ice_servers),
        stream_routes(stream, viewer_count, clips, lease, changes),
        source_routes(stream, changes),
        timeline_routes(stream, changes),
        clip_routes(clips, changes),
        lease_routes(lease, settings.limits),
        event_routes(streams),
        share_routes(settings, watch_page),
        metrics_routes(registry),
    )

    async def drain() -> None:
        stream.end_updates()  # first, so that clients hear of it
        streams.close_all()
        if sockets:
            sockets.close_all()
        await peers.close_all()

    operation_id, lifespan = operator.attrgetter("name"), functools.partial(_lifespan, peers, drain)
    app = FastAPI(lifespan=lifespan, openapi_url=None, generate_unique_id_function=operation_id)
    app.state.drain, app.state.known_clients = drain, lease.known
    app.openapi = functools.partial(document, app)
    app.state.limits, app.state.rates = settings.limits, RateLimits(settings.limits, on_limited)
    open_routers, files = [probe_routes(stream), *_optional_routers(sockets, tokens)], set[str]()
    routes = [route for router in (*routers, *open_routers) for route in router.routes]
    _add_middleware(app, settings, tokens, routes, files)
    dependencies = [Depends(not_stored), *(CREDENTIALS if settings.token else [])]
    for router in routers:
        app.include_router(router, dependencies=dependencies, responses=errors(401, 403, 429))
    for router in open_routers:
        app.include_router(router, responses=errors(403))
    if mount_panel is not None:
        files |= mount_panel(app, MAX_PROMPTS, MAX_PROMPT_CHARS, MAX_TRANSITION_STEPS)
    return app


def _optional_routers(sockets: SocketViewers | None, tokens: Tokens) -> list[APIRouter]:
    """Routes that check a client by themselves, where there is something for them to do."""
    return [*([] if sockets is None else [socket_routes(sockets)]), *([sign_in_routes(tokens)] if tokens else [])]


def _make_lease(limits: Limits, events: EventBus, clients: Sequence[KnownClient]) -> ControlLease:
    def publish(reason: str, now: LeaseState) -> None:
        events.publish("lease", reason=reason, holder=now.holder and now.holder.id, waiting=len(now.waiting))

    return ControlLease(limits.lease_s, limits.lease_waiting, publish, clients=clients)


def _add_middleware(
    app: FastAPI, settings: ServerSettings, tokens: Tokens, routes: Sequence[BaseRoute], files: Set[str]
) -> None:
    """What each request passes on its way to a route, and what is said when one fails. files: paths of the page's."""
    answer_head(routes)
    app.add_middleware(PathAllowlist, routes=routes, files=files)
    app.add_middleware(AccessGuard, settings=settings, tokens=tokens)
    app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(PROXIES))
    app.add_middleware(RootPath, root_path=settings.root_path or "")  # added last: runs first
    for kind in (RequestError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _refused)
    app.add_exception_handler(Exception, _failed)


@contextlib.asynccontextmanager
async def _lifespan(peers: ViewerControl, drain: Callable[[], Awaitable[None]], _: FastAPI) -> AsyncGenerator[None]:
    peers.start()
    yield
    await drain()


async def _refused(request: Request, error: Exception) -> Response:
    if isinstance(error, RequestValidationError):
        error = explain(error)
    if isinstance(error, RequestError):
        return error_reply(str(error), error.status)
    assert isinstance(error, HTTPException)
    return error_reply(error.detail, error.status_code)


async def _failed(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_reply("internal error", 500)
