"""The path below which a reverse proxy serves everything: `serving.root_path`, or what the proxy's headers say."""

import ipaddress
import re

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

PROXIES = ("127.0.0.1", "::1")
"""Where a reverse proxy may run, so that its `X-Forwarded-…` headers are believed."""
ROOT_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")
MAX_CHARS = 200
OWN_NAMES = frozenset({
    "api", "assets", "favicon.ico", "gradio_api", "healthz", "metrics", "readyz", "sign-in", "static", "theme.css",
    "watch", "whep", "ws",
})  # fmt: skip
"""First parts of paths of this server. As a root path, one would make it unclear which of the two is meant."""


def is_root_path(text: str) -> bool:
    """Whether everything can be served below this path."""
    fits = len(text) <= MAX_CHARS and ROOT_PATH.fullmatch(text) is not None
    return fits and {".", ".."}.isdisjoint(text.split("/")) and text.split("/")[1] not in OWN_NAMES


class RootPath:
    """ASGI middleware: takes the root path off `path` if the proxy has not done so, and names it in `root_path`.

    root_path: of the settings; empty: that of `X-Forwarded-Prefix`, if the peer is a proxy that is believed. It has to
    run before the address of the peer is replaced by that of the client.
    """

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self._app, self._root_path = app, root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        root, path = self._root_path or _forwarded_prefix(scope), scope["path"]
        if root and path == root and scope["type"] == "http":  # relative addresses of the page need the slash
            query = scope["query_string"].decode("latin-1")
            return await RedirectResponse(f"{root}/{query and f'?{query}'}", 307)(scope, receive, send)
        inner = path.removeprefix(root) if path.startswith(f"{root}/") else path
        await self._app({**scope, "root_path": root, "path": inner}, receive, send)


def _forwarded_prefix(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-forwarded-prefix", "").rstrip("/")
    return given if is_root_path(given) and _is_proxy(scope) else ""


def _is_proxy(scope: Scope) -> bool:
    try:
        address = ipaddress.ip_address((scope.get("client") or ("", 0))[0])
    except ValueError:
        return False
    return str(getattr(address, "ipv4_mapped", None) or address) in PROXIES
