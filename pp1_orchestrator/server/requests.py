"""Request bodies: limits on size and time, what counts as JSON, and one line that says what is wrong with a body."""

import asyncio
import re
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import msgspec
from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.server.responses import MAX_ECHO_CHARS, error_reply
from pp1_orchestrator.server.server_settings import Limits

JSON_TYPES: Mapping[object, str] = {type(None): "null", list: "array", dict: "object"}
"""Names of types; all others keep Python's name."""
EXPECTED: Mapping[str, str] = {
    "string_type": "str",
    "int_type": "int",
    "float_type": "float",
    "bool_type": "bool",
    "list_type": "array",
    "model_attributes_type": "object",
    "literal_error": "str",
}
"""pydantic's type errors, and the type that each of them asks for."""


class BodyLimit:
    """ASGI middleware: reads the whole body, with or without a declared length, or answers 413 or 408."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            return await self._app(scope, receive, send)
        try:
            body = await asyncio.wait_for(self._read(scope, receive), self._limits.body_s)
        except RequestError as error:
            return await error_reply(str(error), error.status)(scope, receive, send)
        except ClientDisconnect:
            return await error_reply("the client went away", 400)(scope, receive, send)
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
        async for part in Request(scope, receive).stream():
            body += part
            self._check(len(body))
        return bytes(body)

    def _check(self, size: int) -> None:
        if size > self._limits.body_bytes:
            raise RequestError(f"the body is longer than {self._limits.body_bytes} bytes", status=413)


class _StrictRequest(Request):
    async def json(self) -> Any:
        """Unlike Python's own parser, msgspec refuses NaN and strings that can't be encoded as UTF-8."""
        try:
            return msgspec.json.decode(await self.body())
        except msgspec.ValidationError as error:  # JSON, but a number that no float can hold
            raise HTTPException(422, str(error).partition(" - at ")[0]) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise HTTPException(400, f"the body is not JSON: {error}") from error


class StrictRoute(APIRoute):
    """A route whose body must be valid JSON, or of the media type of its `Body`, and declared as such (else 415)."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        expected = getattr(self.body_field and self.body_field.field_info, "media_type", None)

        async def handle_strictly(request: Request) -> Response:
            given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if expected is not None and given != expected:
                what = f"is {given[:MAX_ECHO_CHARS]}" if given else "is missing"
                raise RequestError(f"Content-Type {what}; it must be {expected}", status=415)
            return await handle(_StrictRequest(request.scope, request.receive))

        return handle_strictly


def explain(invalid: RequestValidationError) -> RequestError:
    """The first problem of a body in one line: where it is, the value, and what is allowed."""
    error = invalid.errors()[0]
    given: object = error.get("input")
    kind, path, context = error["type"], error["loc"][1:], error.get("ctx", {})
    if kind == "missing" and not path:
        return RequestError("the body is missing", status=400)
    line, choices = error["msg"], context.get("choices")
    if kind == "missing":
        line, path = f"Object missing required field `{path[-1]}`", path[:-1]
    elif kind == "literal_error" and isinstance(given, str):
        line = f"Invalid enum value {given!r:.{MAX_ECHO_CHARS}}"
        choices = ", ".join(sorted(re.findall(r"'(\w+)'", context["expected"])))
    elif kind in EXPECTED:
        line = f"Expected `{EXPECTED[kind]}`, got `{JSON_TYPES.get(type(given), type(given).__name__)}`"
    at = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return RequestError(line + (f" - at `${at}`" if at else "") + (f"; choices: {choices}" if choices else ""))
