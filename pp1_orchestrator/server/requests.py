"""Request bodies: limits on size and time, what counts as JSON, and one line that says what is wrong with a body."""

import asyncio
import re
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import msgspec
from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.server.responses import MAX_ECHO_CHARS
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


class _StrictRequest(Request):
    async def read(self, limits: Limits) -> None:
        """Read the whole body, with or without a declared length. Raises RequestError 413, 408 or 400."""
        try:
            self._body = await asyncio.wait_for(self._read(limits.body_bytes), limits.body_s)
        except ClientDisconnect:
            raise RequestError("the client went away", status=400) from None
        except TimeoutError:
            raise RequestError(f"the body did not arrive within {limits.body_s:g} s", status=408) from None

    async def json(self) -> Any:
        """Unlike Python's own parser, msgspec refuses NaN and strings that can't be encoded as UTF-8."""
        try:
            return msgspec.json.decode(await self.body())
        except msgspec.ValidationError as error:  # JSON, but a number that no float can hold
            raise HTTPException(422, str(error).partition(" - at ")[0]) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise HTTPException(400, f"the body is not JSON: {error}") from error

    async def _read(self, longest: int) -> bytes:
        declared, body = self.headers.get("content-length", "0"), bytearray()
        _check_length(int(declared) if declared.isdecimal() else 0, longest)
        async for part in self.stream():
            body += part
            _check_length(len(body), longest)
        return bytes(body)


class StrictRoute(APIRoute):
    """A route whose rate, body length and time are limited, and whose body must be valid JSON, or of the media type of
    its `Body`, and declared as such (else 415). The limits hang on the route: no way of writing a path avoids them."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle, endpoint = super().get_route_handler(), self.endpoint
        expected = getattr(self.body_field and self.body_field.field_info, "media_type", None)

        async def handle_strictly(request: Request) -> Response:
            if (refusal := request.app.state.rates.refusal(endpoint, request.scope)) is not None:
                return refusal
            strict = _StrictRequest(request.scope, request.receive)
            if request.method not in ("GET", "HEAD"):
                await strict.read(request.app.state.limits)
            given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if expected is not None and given != expected:
                what = f"is {given[:MAX_ECHO_CHARS]}" if given else "is missing"
                raise RequestError(f"Content-Type {what}; it must be {expected}", status=415)
            return await handle(strict)

        return handle_strictly


def _check_length(length: int, longest: int) -> None:
    if length > longest:
        raise RequestError(f"the body is longer than {longest} bytes", status=413)


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
