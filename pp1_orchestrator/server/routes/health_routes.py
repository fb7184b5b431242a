"""Routes for monitoring and client generators: metrics, liveness, readiness, the OpenAPI document."""

from typing import Any

from fastapi import APIRouter, Depends, Request
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.responses import PlainTextResponse, Response

from pp1_orchestrator.server.openapi import OPENMETRICS, Responses, content
from pp1_orchestrator.server.responses import not_stored
from pp1_orchestrator.types import StreamControl

METRICS: Responses = {200: content("The metrics", "text/plain", OPENMETRICS)}
READY: Responses = {200: content("They are"), 503: content("Not yet, or no longer")}
ALIVE: Responses = {200: content("It is"), 503: content("It hangs, and should be restarted")}


def metrics_routes(registry: CollectorRegistry) -> APIRouter:
    """Metrics and the OpenAPI document."""
    router = APIRouter(tags=["operation"])

    @router.get("/metrics", summary="Prometheus metrics", response_class=Response, responses=METRICS)
    async def metrics(request: Request) -> Response:
        """Prometheus' text format, or OpenMetrics where `Accept` asks for it."""
        try:
            encode, content_type = choose_encoder(request.headers.get("accept", ""))
        except (TypeError, ValueError):  # it compares versions without a look at what they are
            encode, content_type = choose_encoder("")
        return Response(encode(registry), headers={"Content-Type": content_type})

    @router.get("/api/openapi.json", summary="This document")
    async def openapi(request: Request) -> dict[str, Any]:
        """All routes with their bodies, responses and errors, as OpenAPI 3.1."""
        return request.app.openapi() | {"servers": [{"url": request.scope["root_path"] or "/"}]}

    return router


def probe_routes(stream: StreamControl) -> APIRouter:
    """What a platform's probes ask. Needs no token."""
    router = APIRouter(tags=["operation"], dependencies=[Depends(not_stored)])

    @router.get("/readyz", summary="Are chunks being shown", response_class=Response, responses=READY)
    async def ready() -> Response:
        """True while the newest chunk is younger than the deadline, or the stream is paused by a command."""
        return PlainTextResponse("ready\n") if stream.ready() else PlainTextResponse("not ready\n", 503)

    @router.get("/healthz", summary="Is the process alive", response_class=Response, responses=ALIVE)
    async def alive() -> Response:
        """Needs no token."""
        return PlainTextResponse("ok\n") if stream.alive() else PlainTextResponse("hangs\n", 503)

    return router
