"""The page on which a browser without a token is asked for one. Works without scripts and without other files."""

import html
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Scope

SIGN_IN = "/sign-in"
PAGES = frozenset({"/", "/watch"})
"""Pages at which `?token=…` signs in, and to which a browser is led after that."""
TOKEN = "token"
TEMPLATE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Sign in · PP1 Orchestrator</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; display: grid; place-content: center; min-height: 90vh; margin: 0 16px }}
h1 {{ font-size: 20px; margin: 0 }}
form {{ display: flex; flex-wrap: wrap; gap: 8px }}
input, button {{ font: inherit; padding: 6px 12px }}
</style>
<main><h1>PP1 Orchestrator</h1>
<p role="status">{line}</p>
<form method="post" action="{action}">
<input type="password" name="token" aria-label="Token" autocomplete="current-password" required autofocus>
<input type="hidden" name="next" value="{following}">
<button>Sign in</button>
</form></main></html>
"""
ASK, WRONG = "This stream needs a token.", "This is not the token. Try again."


def wants_page(scope: Scope) -> bool:
    """Whether a person in a browser waits for the answer."""
    return (
        scope["type"] == "http"
        and scope["method"] in ("GET", "HEAD")
        and "text/html" in Headers(scope=scope).get("accept", "")
    )


def without_token(scope: Scope) -> str:
    """The path and query of a request, without the token. The root page if it is for no page."""
    given = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    kept = urlencode([(name, value) for name, value in given if name != TOKEN])
    return f"{scope['path']}?{kept}".rstrip("?") if scope["path"] in PAGES else "/"


def sign_in_page(scope: Scope, line: str, following: str, status: int = 401) -> Response:
    """following: path and query of the page to show afterwards."""
    root = scope.get("root_path", "")
    text = TEMPLATE.format(line=line, action=html.escape(root + SIGN_IN), following=html.escape(following))
    # Without a referrer, browsers send `Origin: null` with the form, which the server has to refuse.
    headers = {"Referrer-Policy": "same-origin", "Cache-Control": "no-store", "WWW-Authenticate": "Bearer"}
    return HTMLResponse(text, status, headers)


def lead_to(scope: Scope, following: str) -> Response:
    """Redirect to a page of this server; anything else leads to the root page."""
    target = following if following.partition("?")[0] in PAGES else "/"
    return RedirectResponse(scope.get("root_path", "") + target, 303)
