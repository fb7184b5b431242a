"""Small replies in one form: an error is always `{"error": one line}`."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from pp1_orchestrator.server.schemas import Error

RETRY_AFTER_S = 2
UNSTORED = {"Cache-Control": "no-store"}
PATH_CHARS = 80


def json_reply(data: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """data: anything that msgspec can encode."""
    return Response(msgspec.json.encode(data), status, headers, media_type="application/json")


def error_reply(message: str, status: int, headers: dict[str, str] | None = None) -> Response:
    """One line for the client. 503 says when to come again, 401 how to."""
    hints = {503: {"Retry-After": str(RETRY_AFTER_S)}, 401: {"WWW-Authenticate": "Bearer"}}.get(status, {})
    return json_reply(Error(" ".join(message.split())), status, hints | (headers or {}))


def nothing_at(path: str) -> Response:
    """404 for a path that does not exist."""
    return error_reply(f"there is nothing at {path[:PATH_CHARS]}; /api/openapi.json lists what there is", 404)


def not_possible(method: str, path: str, allowed: str) -> Response:
    """405 for a method that a path does not know."""
    line = f"{method} is not possible at {path[:PATH_CHARS]}; allowed: {allowed}"
    return error_reply(line, 405, {"Allow": allowed})
