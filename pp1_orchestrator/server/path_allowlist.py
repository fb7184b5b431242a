"""An allowlist of paths. Gradio adds dozens of routes for uploads, files, proxies and queues; the page needs none."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from pp1_orchestrator.server.responses import not_possible, nothing_at

INTERFACE = ("/api/", "/whep")
PAGE = ("/assets/", "/static/")
SINGLE = frozenset({"/", "/metrics", "/healthz", "/readyz", "/theme.css", "/favicon.ico"})
READING = frozenset({"GET", "HEAD"})


class PathAllowlist:
    """ASGI middleware: 404 for all other paths, 405 for methods that do not read the page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(INTERFACE):
            return await self._app(scope, receive, send)
        if scope["path"] not in SINGLE and not scope["path"].startswith(PAGE):
            return await nothing_at(scope["path"])(scope, receive, send)
        if scope["method"] not in READING:
            return await not_possible(scope["method"], scope["path"], ", ".join(sorted(READING)))(scope, receive, send)
        await self._app(scope, receive, send)
