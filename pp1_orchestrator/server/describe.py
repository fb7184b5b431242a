"""Small words for describing a route where it is written: what it takes, gives and refuses. Knows no route."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pp1_orchestrator.server.schemas import Error

Described = dict[int | str, dict[str, Any]]
JSON, SDP, TEXT, EVENTS = "application/json", "application/sdp", "text/plain", "text/event-stream"
MP4 = "video/mp4"
STRING: Mapping[str, Any] = {"type": "string"}
REFUSALS: Mapping[int, str] = {
    400: "The body can't be read: not JSON, not UTF-8, or not an offer that can be answered",
    401: "No token, or a wrong one, where the server has one",
    403: "A Host that is not served here, an Origin that may not change anything here, or a token for watching alone",
    404: "There is nothing with this id",
    409: "Understood, but not possible as things stand; the line says what is in the way",
    408: "The body did not arrive in time",
    413: "The body is too long",
    415: "The body is declared as something else than what is taken",
    422: "The body is understood, but not possible; the line names the field and what is allowed",
    429: "Too many of them, or of wrong tokens, from one address; Retry-After says when to come again",
    503: "No room for now; Retry-After says when to come again",
}
BODY = (400, 408, 413, 415, 422, 429)
"""What can be wrong with a JSON body."""


def ref(kind: type) -> dict[str, str]:
    """A pointer to a type's schema in the document."""
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def takes(kind: type, examples: Mapping[str, Any], rule: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A JSON body, for `openapi_extra`. rule: a schema that the body must fit as well."""
    schema = ref(kind) if rule is None else {"allOf": [ref(kind), dict(rule)]}
    shown = {name: {"value": value} for name, value in examples.items()}
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema, "examples": shown}}}}


def takes_text(media_type: str, pattern: str) -> dict[str, Any]:
    """A body of text, for `openapi_extra`."""
    schema = dict(STRING) | {"pattern": pattern}
    return {"requestBody": {"required": True, "content": {media_type: {"schema": schema}}}}


def gives(kind: type, description: str) -> Described:
    """A JSON answer, for `responses`."""
    return {200: {"description": description, "content": {JSON: {"schema": ref(kind)}}}}


def gives_text(description: str, media_type: str = TEXT, status: int = 200) -> Described:
    """An answer that is text, for `responses`."""
    return {status: {"description": description, "content": {media_type: {"schema": dict(STRING)}}}}


def refuses(*statuses: int) -> Described:
    """Errors of this route alone, for `responses`; what every route refuses is added to all of them."""
    return {status: {"description": REFUSALS[status], "content": {JSON: {"schema": ref(Error)}}} for status in statuses}
