"""For machines that look after machines, and for those that write clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.responses import PlainTextResponse, Response

from pp1_orchestrator.server.describe import JSON, gives_text
from pp1_orchestrator.server.responses import json_reply
from pp1_orchestrator.types import StreamControl

OPENMETRICS = "application/openmetrics-text"


def health_routes(stream: StreamControl, registry: CollectorRegistry) -> APIRouter:
    """Metrics, health, readiness."""
    router = APIRouter(default_response_class=Response, tags=["operation"])

    @router.get("/metrics", summary="Prometheus metrics", responses=_metrics_answer())
    async def metrics(request: Request) -> Response:
        """Prometheus' text, or OpenMetrics where `Accept` asks for it."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": content_type})

    @router.get(
        "/healthz",
        summary="Is the process alive",
        responses=gives_text("It is") | gives_text("It hangs, and should be started anew", status=503),
    )
    async def alive() -> Response:
        """Needs no token."""
        return PlainTextResponse("ok\n") if stream.alive() else PlainTextResponse("hangs\n", 503)

    @router.get(
        "/readyz",
        summary="Are chunks being shown",
        responses=gives_text("They are") | gives_text("Not yet, or no more", status=503),
    )
    async def ready() -> Response:
        """True while the newest chunk is younger than the deadline, or the stream is paused on purpose."""
        return PlainTextResponse("ready\n") if stream.ready() else PlainTextResponse("not ready\n", 503)

    return router


def document_routes(document: Callable[[], dict[str, Any]]) -> APIRouter:
    """The OpenAPI document."""
    router = APIRouter(default_response_class=Response, tags=["operation"])
    content = {JSON: {"schema": {"type": "object"}}}

    @router.get(
        "/api/openapi.json",
        summary="This document",
        responses={200: {"description": "OpenAPI 3.1", "content": content}},
    )
    async def openapi() -> Response:
        """All routes with their bodies, answers and errors."""
        return json_reply(document())

    return router


def _metrics_answer() -> dict[int | str, dict[str, Any]]:
    described = gives_text("The metrics")
    described[200]["content"] |= gives_text("", OPENMETRICS)[200]["content"]
    return described
