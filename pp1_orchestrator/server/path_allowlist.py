"""An allowlist of paths. Gradio adds dozens of routes for uploads, files, proxies and queues; the page needs none."""

from collections.abc import Iterable, Sequence, Set

from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from pp1_orchestrator.server.responses import MAX_ECHO_CHARS, error_reply

PAGE_PATHS = frozenset({"/", "/theme.css", "/favicon.ico"})


def answer_head(routes: Iterable[BaseRoute]) -> None:
    """Routes with GET take HEAD, too, which FastAPI does not do by itself. uvicorn leaves out the body."""
    for route in routes:
        if isinstance(route, APIRoute) and route.methods and "GET" in route.methods:
            route.methods.add("HEAD")


class PathAllowlist:
    """ASGI middleware: 404 for paths that are neither the page's nor in `routes`, 405 for methods they do not have.

    files: paths of the page's files.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute], files: Set[str]) -> None:
        self._files = files
        self._app, self._routes = app, [route for route in routes if isinstance(route, APIRoute)]
        self._sockets = [route for route in routes if isinstance(route, APIWebSocketRoute)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http":
            method, path = scope["method"], scope["path"]
            allowed, shown = self._methods(path), path[:MAX_ECHO_CHARS]
            if not allowed:
                app = error_reply(f"there is nothing at {shown}; /api/openapi.json lists what there is", 404)
            elif method not in allowed:
                choices = ", ".join(sorted(allowed))
                app = error_reply(f"{method} is not possible at {shown}; allowed: {choices}", 405, {"Allow": choices})
            elif method == "HEAD" and self._is_page(path):
                scope = {**scope, "method": "GET"}  # Gradio's routes don't take it; uvicorn leaves out the body
        if scope["type"] == "websocket" and not any(s.path_regex.fullmatch(scope["path"]) for s in self._sockets):
            app = error_reply(f"there is no WebSocket at {scope['path'][:MAX_ECHO_CHARS]}", 404)
        await app(scope, receive, send)

    def _methods(self, path: str) -> set[str]:
        if self._is_page(path):
            return {"GET", "HEAD"}
        return {method for route in self._routes if route.path_regex.fullmatch(path) for method in route.methods or ()}

    def _is_page(self, path: str) -> bool:
        return path in PAGE_PATHS or path in self._files
