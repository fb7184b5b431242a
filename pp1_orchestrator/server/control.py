"""Who may change the stream: everybody, until somebody holds control. Decided for every route alike."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.server.access import SAFE_METHODS
from pp1_orchestrator.server.lease import Leases
from pp1_orchestrator.server.replies import error_reply

HEADER = "PP1-Lease"
LEASE = "/api/lease"


def needs_control(method: str, path: str) -> bool:
    """Whether a request changes what everybody sees. Watching doesn't, nor does asking for control."""
    return method not in SAFE_METHODS and path.startswith("/api/") and not path.startswith(LEASE)


class ControlGuard:
    """ASGI middleware: 409 for changes by anybody but the one who holds control; each change renews the lease."""

    def __init__(self, app: ASGIApp, leases: Leases) -> None:
        self._app, self._leases = app, leases

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and needs_control(scope["method"], scope["path"]):
            try:
                self._leases.check(Headers(scope=scope).get(HEADER))
            except RequestError as error:
                return await error_reply(str(error), error.status)(scope, receive, send)
        await self._app(scope, receive, send)
