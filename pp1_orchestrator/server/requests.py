"""Request bodies: bounded in bytes and time before a route sees them, and typed when it does.

What a field may hold, added to msgspec's errors where they name only what it may not. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import TypeVar

import msgspec
from msgspec import inspect
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.server.responses import error_reply
from pp1_orchestrator.server.server_settings import Limits


def with_choices(problem: str, kind: type) -> str:
    """msgspec's line about a body of this kind; the choices follow for a wrong word or an unknown field."""
    path = match[1] if (match := re.search(r" - at `\$(.*)`$", problem)) else ""
    found = list(_at(inspect.type_info(kind), re.findall(r"[^.\[\]]+|\[", path)))
    if problem.startswith("Invalid enum value"):
        choices = [str(value) for here in found if isinstance(here, inspect.LiteralType) for value in here.values]
    elif problem.startswith("Object contains unknown field"):
        choices = [field.encode_name for here in found if isinstance(here, inspect.StructType) for field in here.fields]
    else:
        choices = []
    return f"{problem}; choices: {', '.join(choices)}" if choices else problem


def _at(here: inspect.Type, path: list[str]) -> Iterator[inspect.Type]:
    """The types that may stand at a path: names of fields, and `[` followed by the index for a list's entries."""
    if isinstance(here, inspect.UnionType):
        for member in here.types:
            yield from _at(member, path)
    elif isinstance(here, inspect.Metadata):
        yield from _at(here.type, path)
    elif not path:
        yield here
    elif isinstance(here, inspect.VarTupleType) and path[0] == "[":
        yield from _at(here.item_type, path[2:])
    elif isinstance(here, inspect.StructType):
        for field in here.fields:
            if field.encode_name == path[0]:
                yield from _at(field.type, path[1:])


T = TypeVar("T")


class BodyLimit:
    """ASGI middleware that reads a whole body, declared or chunked, or answers 413 or 408."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            return await self._app(scope, receive, send)
        try:
            body = await asyncio.wait_for(self._read(scope, receive), self._limits.body_s)
        except RequestError as error:
            return await error_reply(str(error), error.status)(scope, receive, send)
        except TimeoutError:
            reply = error_reply(f"the body did not arrive within {self._limits.body_s:g} s", 408)
            return await reply(scope, receive, send)
        replay: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replayed() -> Message:
            return replay.pop() if replay else await receive()

        await self._app(scope, replayed, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        declared = Headers(scope=scope).get("content-length", "0")
        self._check(int(declared) if declared.isdecimal() else 0)
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise RequestError("the client went away", status=400)
            body += message.get("body", b"")
            self._check(len(body))
            if not message.get("more_body", False):
                return bytes(body)

    def _check(self, size: int) -> None:
        if size > self._limits.body_bytes:
            raise RequestError(f"the body is longer than {self._limits.body_bytes} bytes", status=413)


async def read_json(request: Request, kind: type[T]) -> T:
    """The body as a msgspec struct. Raises RequestError: 415, 400 (not JSON), 422 (names the field)."""
    require_type(request, "application/json")
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except msgspec.ValidationError as error:
        raise RequestError(with_choices(str(error), kind)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"the body is not JSON: {error}", status=400) from error


def require_type(request: Request, media_type: str) -> None:
    """Raises RequestError 415 when the body is declared as something else."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != media_type:
        what = f"is {given[:80]}" if given else "is missing"
        raise RequestError(f"Content-Type {what}; it must be {media_type}", status=415)
