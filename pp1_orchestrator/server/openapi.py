"""The OpenAPI document of the interface: FastAPI collects the routes, the types bring their own schemas.

Adds what is true of every route: who may ask, and how it is told that it may not.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute, compile_path

import pp1_orchestrator
from pp1_orchestrator.server import schemas as answers
from pp1_orchestrator.server.auth import COOKIE, OPEN_PATHS
from pp1_orchestrator.server.control_lease import HEADER, needs_control
from pp1_orchestrator.server.describe import refuses
from pp1_orchestrator.server.routes.clip_routes import ClipCommand
from pp1_orchestrator.server.routes.lease_routes import HandOver, LeaseCommand
from pp1_orchestrator.server.routes.timeline_routes import TimelineBody
from pp1_orchestrator.server.schemas import Notice
from pp1_orchestrator.server.server_settings import ServerSettings
from pp1_orchestrator.types import Clip, Control, PromptUpdate

KINDS = (
    PromptUpdate, Control, TimelineBody, ClipCommand, Clip, answers.Clips, Notice, answers.Error,
    LeaseCommand, HandOver, answers.Lease, answers.LeaseState, answers.PromptAccepted, answers.ControlAccepted,
    answers.TimelineAccepted, answers.TimelineCleared, answers.Entries, answers.StreamState,
)  # fmt: skip
SCHEMES = {
    "token": {"type": "http", "scheme": "bearer", "description": "serving.token, or to watch serving.view_token"},
    "page": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "Set by /?token=… in a browser"},
}
LEASE_KEY = {
    "name": HEADER,
    "in": "header",
    "description": "The key from /api/lease; needed while anybody holds control",
    "schema": {"type": "string"},
}
DESCRIPTION = """A live stream of video that follows prompts.

Every error is `{"error": one line}`. A page of another origin can read nothing and change nothing here."""


def describe(routes: Sequence[BaseRoute], settings: ServerSettings) -> dict[str, Any]:
    """The document for a server with these routes and settings."""
    document = get_openapi(
        title="PP1 Orchestrator",
        version=pp1_orchestrator.__version__,
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        servers=[{"url": "/"}],
        routes=routes,
    )
    _, schemas = msgspec.json.schema_components(KINDS, ref_template="#/components/schemas/{name}")
    for schema in schemas.values():
        schema["description"] = inspect.cleandoc(schema["description"])
    document["components"] = {"schemas": schemas, "securitySchemes": SCHEMES}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _guard(operation, path in OPEN_PATHS, settings.token is not None)
    for operation in (o for path, o in _operations(document) if needs_control(*path)):
        _lease(operation)
    return document


def methods_at(path: str, document: dict[str, Any]) -> list[str]:
    """What a path can be asked for, by all of its routes."""
    fitting = [found for template, found in document["paths"].items() if compile_path(template)[0].match(path)]
    return sorted({method.upper() for operations in fitting for method in operations})


def _operations(document: dict[str, Any]) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    """Each with its method and path."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield (method.upper(), path), operation


def _lease(operation: dict[str, Any]) -> None:
    """Say how control is proved, and that somebody else may hold it."""
    operation["parameters"] = [*operation.get("parameters", ()), LEASE_KEY]
    operation["responses"] |= {str(status): answer for status, answer in refuses(409).items()}
    operation["responses"] = dict(sorted(operation["responses"].items()))


def _guard(operation: dict[str, Any], is_open: bool, has_token: bool) -> None:
    """Say who may ask, and the refusals of the access rules."""
    general = refuses(403) if is_open else refuses(401, 403, 429)
    described = operation["responses"] | {str(status): answer for status, answer in general.items()}
    operation["responses"] = {status: described[status] for status in sorted(described)}
    if not is_open and has_token:
        operation["security"] = [{name: []} for name in SCHEMES]
