"""Small responses in one form: an error is always `{"error": one line}`."""

from starlette.responses import JSONResponse, Response

RETRY_AFTER_S = 2
MAX_ECHO_CHARS = 80
"""Of what a client sent, in a line that is sent back."""


async def not_stored(response: Response) -> None:
    """A dependency: browsers and proxies must not cache the response."""
    response.headers["Cache-Control"] = "no-store"


def error_reply(message: str, status: int, headers: dict[str, str] | None = None) -> Response:
    """One line for the client, with the headers that a 503 or 401 needs."""
    hints = {503: {"Retry-After": str(RETRY_AFTER_S)}, 401: {"WWW-Authenticate": "Bearer"}}.get(status, {})
    return JSONResponse({"error": " ".join(message.split())}, status, hints | (headers or {}))
