"""Access rules, the same for all routes and checked before routing.

Four checks in this order: Host (against DNS rebinding), the token, what the token permits, and for WebSockets and for
requests that change something Origin (against forgery by other pages). A client that has sent too many wrong tokens
gets 429 even for a right one.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import SplitResult, parse_qs, parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pp1_orchestrator.server.rate_limit import Buckets, client_of, too_often
from pp1_orchestrator.server.responses import MAX_ECHO_CHARS, error_reply
from pp1_orchestrator.server.server_settings import ServerSettings

COOKIE = "pp1_session"
MAY_CHANGE = "may_change"
OPEN_PATHS = frozenset({"/healthz"})
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
PAGES = frozenset({"/", "/watch"})
"""Where a browser gets a cookie for a token."""


class AccessGuard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        ancestors = " ".join(("'self'", *settings.frame_ancestors)) if settings.frame_ancestors else "'none'"
        policy = HARDENING["Content-Security-Policy"] + ancestors
        self._hardening = {**HARDENING, "Content-Security-Policy": policy}
        self._framed = bool(settings.frame_ancestors)
        named = settings.loopback and not settings.token  # a page that rebinds a name of its own has no token for it
        self._hosts = LOOPBACK_NAMES | {settings.host} if named else None
        self._tokens = settings.tokens()
        self._sessions = {_session_of(token): may_change for token, may_change in self._tokens.items()}
        self._guesses = Buckets(settings.limits.guesses, settings.limits.clients)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)

        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._hardening)
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
        method, path, client = _method(scope), scope["path"], client_of(scope)
        bearer, cookie, offered = _credentials(scope, headers)
        is_guess = bool(bearer or cookie or offered)
        if is_guess and (wait_s := self._guesses.would_wait_s(client)) > 0:
            return too_often("wrong tokens", self._guesses.rate, wait_s)
        may_change = _match(bearer, self._tokens) if bearer else _match(cookie, self._sessions)
        if may_change is not None:
            scope.setdefault("state", {})[MAY_CHANGE] = may_change
            may = may_change or method in SAFE_METHODS or WATCHING.fullmatch(path) is not None
            return None if may else error_reply(ONLY_WATCH, 403)
        if method in ("GET", "HEAD") and path in PAGES and _match(offered, self._tokens) is not None:
            return self._set_session_cookie(offered, scope)
        if is_guess:
            self._guesses.wait_s(client)
        return error_reply("a token is needed: Authorization: Bearer …, or /?token=… once in a browser", 401)

    def _set_session_cookie(self, token: str, scope: Scope) -> Response:
        """Redirect to the page without the token in its address."""
        rest = [(name, value) for name, value in parse_qsl(scope["query_string"].decode("latin-1")) if name != "token"]
        root = scope.get("root_path", "")
        response = RedirectResponse(root + scope["path"] + (f"?{urlencode(rest)}" if rest else ""), status_code=303)
        secure = scope["scheme"] == "https"
        # In a frame on a page of another origin, browsers send this kind of cookie only.
        samesite = "none" if self._framed and secure else "lax"
        value, path = _session_of(token), f"{root}/"
        response.set_cookie(COOKIE, value, path=path, httponly=True, samesite=samesite, secure=secure)
        return response


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
    bearer = credential if scheme.lower() == "bearer" else ""
    cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
    return bearer, cookie, parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]


def _parts(address: str) -> SplitResult:
    """The parts of an address; all empty if it is malformed."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def _session_of(token: str) -> str:
    """The cookie's value: it proves knowledge of the token without revealing it."""
    return hmac.new(token.encode(), b"pp1 panel session", hashlib.sha256).hexdigest()


def _match(given: str, known: Mapping[str, bool]) -> bool | None:
    """Whether the known secret that was given permits changes; None if it is none of them."""
    given_bytes = given.encode("utf-8", "replace")
    return next((may for secret, may in known.items() if hmac.compare_digest(given_bytes, secret.encode())), None)
