"""The two tokens and what they permit, the cookie that stands for one, and how often a client may give a wrong one."""

import hashlib
import hmac
from collections.abc import Mapping

from starlette.responses import Response
from starlette.types import Scope

from pp1_orchestrator.server.rate_limit import Buckets, client_of, too_often
from pp1_orchestrator.server.server_settings import ServerSettings

COOKIE = "pp1_session"


class Tokens:
    """Known tokens and sessions. `permits` is False for what only watches, and None for what is not known."""

    def __init__(self, settings: ServerSettings) -> None:
        self._tokens, self._framed = settings.tokens(), bool(settings.frame_ancestors)
        self._sessions = {_session_of(token): may_change for token, may_change in self._tokens.items()}
        self._guesses = Buckets(settings.limits.guesses, settings.limits.clients)

    def __bool__(self) -> bool:
        return bool(self._tokens)

    def permits(self, token: str) -> bool | None:
        """Whether a token permits changes."""
        return _match(token, self._tokens)

    def session_permits(self, cookie: str) -> bool | None:
        """Whether a session's cookie permits changes."""
        return _match(cookie, self._sessions)

    def refusal(self, scope: Scope) -> Response | None:
        """429 for a client that has given too many wrong ones, before its next one is looked at."""
        wait_s = self._guesses.would_wait_s(client_of(scope))
        return too_often("wrong tokens", self._guesses.rate, wait_s) if wait_s > 0 else None

    def count_wrong(self, scope: Scope) -> None:
        """Count a wrong token against its client."""
        self._guesses.wait_s(client_of(scope))

    def sign_in(self, response: Response, token: str, scope: Scope) -> Response:
        """Add the cookie of a token's session, for the path below which the page is served."""
        path, secure = f"{scope.get('root_path', '')}/", scope["scheme"] == "https"
        # In a frame on a page of another origin, browsers send only the second kind of cookie.
        samesite = "none" if self._framed and secure else "lax"
        response.set_cookie(COOKIE, _session_of(token), path=path, httponly=True, samesite=samesite, secure=secure)
        return response


def _session_of(token: str) -> str:
    """The cookie's value: it proves knowledge of the token without revealing it."""
    return hmac.new(token.encode(), b"pp1 panel session", hashlib.sha256).hexdigest()


def _match(given: str, known: Mapping[str, bool]) -> bool | None:
    """Whether the known secret that was given permits changes; None if it is none of them."""
    given_bytes = given.encode("utf-8", "replace")
    return next((may for secret, may in known.items() if hmac.compare_digest(given_bytes, secret.encode())), None)
