"""Access rules, the same for all routes and checked before routing.

Four checks in this order: Host (against DNS rebinding), the token, what the token permits, and for WebSockets and for
requests that change something Origin (against forgery by other pages). A client that has sent too many wrong tokens
gets 429 even for a right one.
"""

import re
from collections.abc import Mapping
from urllib.parse import SplitResult, parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pp1_orchestrator.server.responses import MAX_ECHO_CHARS, error_reply
from pp1_orchestrator.server.server_settings import ServerSettings
from pp1_orchestrator.server.sign_in import ASK, PAGES, SIGN_IN, TOKEN, lead_to, sign_in_page, wants_page, without_token
from pp1_orchestrator.server.tokens import COOKIE, Tokens

MAY_CHANGE = "may_change"
HEALTH_PATHS = frozenset({"/healthz", "/readyz"})
OPEN_PATHS = HEALTH_PATHS | {SIGN_IN}
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
WATCHING = re.compile("/whep(/[^/]+)?")
"""The only paths at which the view token permits POST and DELETE: a viewer's own session."""
ONLY_WATCH = "this token is for watching; to change anything, serving.token is needed"
HARDENING: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' blob:; frame-ancestors "
    ),
}
"""Gradio's page needs inline scripts and eval. Nothing may be loaded from, or sent to, another origin. Who may show a
page in a frame is a setting."""


class AccessGuard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, settings: ServerSettings, tokens: Tokens) -> None:
        self._app = app
        ancestors = " ".join(("'self'", *settings.frame_ancestors)) if settings.frame_ancestors else "'none'"
        policy = HARDENING["Content-Security-Policy"] + ancestors
        self._hardening = {**HARDENING, "Content-Security-Policy": policy}
        named = settings.loopback and not settings.token  # a page that rebinds a name of its own has no token for it
        self._hosts = LOOPBACK_NAMES | {settings.host} if named else None
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)

        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = MutableHeaders(scope=message)
                for name, value in self._hardening.items():
                    own.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            refusal.headers["Connection"] = "close"  # else one connection could ask again and again without a pause
        await (refusal or self._app)(scope, receive, hardened)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._hosts is not None and _parts(f"//{host}").hostname not in self._hosts:
            names = ", ".join(sorted(self._hosts))
            line = f"Host {host[:MAX_ECHO_CHARS]!r} is not served here; use {names}; any other name needs serving.token"
            return error_reply(line, 403)
        if scope["path"] not in OPEN_PATHS and (answer := self._authenticate(scope, headers)) is not None:
            return answer
        origin = headers.get("origin")
        if not _is_safe(scope) and origin is not None and _parts(origin).netloc != host:
            own, given = host[:MAX_ECHO_CHARS], origin[:MAX_ECHO_CHARS]
            line = f"Origin {given!r} may not change anything here; only pages of {own} may"
            return error_reply(line, 403)
        return None

    def _authenticate(self, scope: Scope, headers: Headers) -> Response | None:
        """None if the request has a token that permits it. A page request with a token in its address gets a cookie."""
        if not self._tokens:
            return None
        bearer, cookie, offered = _credentials(scope, headers)
        is_guess = bool(bearer or cookie or offered)
        if is_guess and (refusal := self._tokens.refusal(scope)) is not None:
            return refusal
        may_change = self._tokens.permits(bearer) if bearer else self._tokens.session_permits(cookie)
        if offered and (taken := self._take_from_address(scope, offered, may_change)) is not None:
            return taken
        if may_change is not None:
            scope.setdefault("state", {})[MAY_CHANGE] = may_change
            may = may_change or _method(scope) in SAFE_METHODS or WATCHING.fullmatch(scope["path"]) is not None
            return None if may else error_reply(ONLY_WATCH, 403)
        if is_guess:
            self._tokens.count_wrong(scope)
        if wants_page(scope):
            return sign_in_page(scope, ASK, without_token(scope))
        return error_reply("a token is needed: Authorization: Bearer …, or /?token=… once in a browser", 401)

    def _take_from_address(self, scope: Scope, token: str, may_change: bool | None) -> Response | None:
        """Lead a page's request to its address without the token, with a cookie if that permits more than before."""
        permitted = self._tokens.permits(token)
        if _method(scope) not in ("GET", "HEAD") or scope["path"] not in PAGES or permitted is None:
            return None
        leading = lead_to(scope, without_token(scope))
        return leading if may_change or may_change is permitted else self._tokens.sign_in(leading, token, scope)


def may_change(request: Request) -> bool:
    """Whether the token of a request that was let in permits changes; without tokens everybody may."""
    return getattr(request.state, MAY_CHANGE, True)


def _method(scope: Scope) -> str:
    """A request's method. A WebSocket begins with a GET."""
    return scope.get("method", "GET")


def _is_safe(scope: Scope) -> bool:
    """Whether the browser keeps the answer from pages of other origins. It lets them open WebSockets and read those."""
    return scope["type"] == "http" and scope["method"] in SAFE_METHODS


def _credentials(scope: Scope, headers: Headers) -> tuple[str, str, str]:
    """A request's bearer token, session cookie and token in the query string; empty where there is none."""
    scheme, _, credential = headers.get("authorization", "").partition(" ")
    as_sent = credential.encode("latin-1").decode("utf-8", "replace")  # headers are read as latin-1
    bearer = as_sent if scheme.lower() == "bearer" else ""
    cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
    return bearer, cookie, parse_qs(scope["query_string"].decode("latin-1")).get(TOKEN, [""])[0]


def _parts(address: str) -> SplitResult:
    """The parts of an address; all empty if it is malformed."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")
