"""Writes docs/api_reference.md: `python -m scripts.api_reference`.

Everything on the page comes from the OpenAPI document that the server publishes; docs/api.md is the guide to it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from pp1_orchestrator.event_bus import EventBus
from pp1_orchestrator.server.app import create_app
from pp1_orchestrator.server.openapi import ERRORS
from pp1_orchestrator.server.server_settings import ServerSettings
from scripts.markdown import row

Node = dict[str, Any]
TARGET = Path(__file__).resolve().parents[1] / "docs" / "api_reference.md"
HEAD = """# HTTP API reference

`python -m scripts.api_reference` generates this page from the OpenAPI document, which a running stream serves at
`/api/openapi.json`. [Building a client](api.md) explains the routes with commands to paste. What answers `GET`
answers `HEAD` with the same status and headers.
"""
EVENTS = """## Events

The `data` of each event at [`GET /api/events`](#get-apievents) has one of these forms.
"""
ERRORS_HEAD = """## Errors

The body of each is an [Error](#error): one line that names the field, its value and what is allowed.
"""


def openapi() -> Node:
    """The document as a server with a token publishes it."""
    absent: Any = None  # describing the routes needs no stream
    settings = ServerSettings(token="any")
    return create_app(absent, absent, absent, EventBus(), CollectorRegistry(), settings).openapi()


def reference(document: Node) -> str:
    """The whole page."""
    schemas: dict[str, Node] = document["components"]["schemas"]
    events = {name for name, schema in schemas.items() if "const" in schema.get("properties", {}).get("event", {})}
    parts = [HEAD, "## Routes"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts += [] if method == "head" else _operation(f"{method.upper()} {path}", operation)
    parts.append("## Objects")
    for name in sorted(schemas.keys() - events):
        parts += _schema(name, schemas[name])
    parts.append(EVENTS.rstrip())
    for name in sorted(events):
        parts += _schema(name, schemas[name])
    rows = [row(str(status), text) for status, text in ERRORS.items()]
    parts += [ERRORS_HEAD.rstrip(), "\n".join(["| status | meaning |", "|---|---|", *rows])]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def main() -> None:
    """Write the page."""
    TARGET.write_text(reference(openapi()), encoding="utf-8")


def _operation(title: str, operation: Node) -> Iterator[str]:
    yield f"### {title}"
    yield f"**{operation['summary']}.** {_flat(operation.get('description', ''))}".rstrip()
    headers = [parameter for parameter in operation.get("parameters", ()) if parameter["in"] == "header"]
    if headers:
        yield "\n".join(f"Header `{parameter['name']}`: {parameter['description']}." for parameter in headers)
    if body := operation.get("requestBody"):
        yield f"Body: {_media(body['content'])}"
    refusals = []
    for status, response in sorted(operation["responses"].items()):
        if ERRORS.get(int(status)) == response["description"]:
            refusals.append(status)
            continue
        meaning = "" if response["description"] == "Successful Response" else f" ({response['description']})"
        yield f"{status}{meaning}: {_media(response.get('content', {}))}"
    yield f"[Errors](#errors): {', '.join(refusals)}"


def _media(content: Node) -> str:
    """The media types of a body, and the object in it."""
    kinds = []
    for name, entry in content.items():
        schema = entry.get("schema", {})
        kinds.append(_type(schema) if name == "application/json" and schema else f"`{name}`")
    return ", ".join(kinds) or "–"


def _schema(name: str, schema: Node) -> Iterator[str]:
    yield f"### {name}"
    if about := schema.get("description"):
        yield _flat(about)
    required = schema.get("required", ())
    rows = [
        row(f"`{field}`", _type(kind), "yes" if field in required else "no")
        for field, kind in schema.get("properties", {}).items()
    ]
    if rows:
        yield "\n".join(["| field | type | required |", "|---|---|---|", *rows])


def _type(schema: Node) -> str:
    """A schema in words, with its bounds."""
    match schema:
        case {"$ref": ref}:
            name = ref.rsplit("/", 1)[-1]
            return f"[{name}](#{name.lower()})"
        case {"anyOf": kinds} | {"oneOf": kinds}:
            return " or ".join(_type(kind) for kind in kinds)
        case {"const": value}:
            return f"`{value}`"
        case {"enum": values}:
            return ", ".join(f"`{value}`" for value in values)
        case {"type": "array"}:
            return f"list of {_type(schema.get('items', {}))}{_bounds(schema, 'minItems', 'maxItems')}"
        case {"type": "object", "additionalProperties": {} as kind}:
            return f"object of {_type(kind)} by name"
        case {"type": "string"}:
            return f"string{_bounds(schema, 'minLength', 'maxLength', ' characters')}"
        case {"type": str() as kind}:
            return f"{kind}{_bounds(schema, 'minimum', 'maximum')}"
    return "any"


def _bounds(schema: Node, least: str, most: str, unit: str = "") -> str:
    low, high = (f"{schema[key]:.10g}" if key in schema else "" for key in (least, most))
    if low and high:
        return f" from {low} to {high}{unit}"
    return (f" ≥ {low}{unit}" if low else "") + (f" ≤ {high}{unit}" if high else "")


def _flat(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    main()
