"""Small replies in one form: an error is always `{"error": one line}`."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

RETRY_AFTER_S = 2


def json_reply(data: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """data: anything that msgspec can encode."""
    return Response(msgspec.json.encode(data), status, headers, media_type="application/json")


def error_reply(message: str, status: int) -> Response:
    """One line for the client. 503 says when to come again, 401 how to."""
    headers = {503: {"Retry-After": str(RETRY_AFTER_S)}, 401: {"WWW-Authenticate": "Bearer"}}.get(status)
    return json_reply({"error": " ".join(message.split())}, status, headers)
