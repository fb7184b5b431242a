"""What a client sends on a connection: h11 makes requests of it, as in the server, and the application answers them.

An answer is never 500, can be written as HTTP, and has one line of reason from 400 on. With an Authorization header the
application that has tokens is asked.
"""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import h11

from pp1_orchestrator.ui import mount_panel
from tests.fuzz.event_loop import PersistentLoop
from tests.fuzz.oracle import LINE_CHARS, Finding
from tests.server.conftest import build

LOOP = PersistentLoop()
OPEN = build(mount_panel=mount_panel)
CLOSED = build(mount_panel=mount_panel, token="token-of-a-test", view_token="view-token-of-a-test")
HEADER_BYTES, MOST_REQUESTS = 16 * 1024, 8
PLAIN = ("healthz", "readyz")
"""Paths whose refusals are not JSON."""
PARAMETERS = {"clip_id": "c1", "viewer_id": "v0"}
Scope = dict[str, Any]


def seeds() -> list[bytes]:
    """A request to each operation of the OpenAPI document, with the example of its body."""
    made: list[bytes] = []
    for path, operations in OPEN.app.openapi()["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {"": {}})
            for kind, body in content.items():
                examples = [example["value"] for example in body.get("examples", {}).values()] or [""]
                made += [_request(method, path, kind, example) for example in examples]
    return [*made, _request("get", "/assets/index.js", "", ""), _request("get", "/?token=token-of-a-test", "", "")]


def _request(method: str, path: str, kind: str, example: Any) -> bytes:
    body = b"v=0\r\n" if kind.endswith("sdp") else json.dumps(example).encode() if kind else b""
    lines = [
        f"{method.upper()} {path.format_map(PARAMETERS)} HTTP/1.1",
        "Host: 127.0.0.1:7860",
        *([f"Content-Type: {kind}", f"Content-Length: {len(body)}"] if kind else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def fuzz_one(data: bytes) -> None:
    parts = CLOSED if b"authorization" in data.lower() else OPEN
    for scope, body in _requests(data):
        LOOP.run(_answer(parts.app, scope, body))
    OPEN.peers.viewers.clear()


def still_works() -> None:
    """/healthz answers; what the stream in memory has kept is forgotten."""
    for parts in (OPEN, CLOSED):
        (scope, body), *_ = _requests(_request("get", "/healthz", "", ""))
        if LOOP.run(_answer(parts.app, scope, body)) != 200:
            raise Finding("/healthz does not answer 200")
        parts.stream.updates.clear()
        parts.stream.commands.clear()
        parts.stream.entries.clear()


def _requests(data: bytes) -> Iterator[tuple[Scope, bytes]]:
    """The requests that h11 finds, one after another, as ASGI has them. It ends where h11 refuses."""
    connection = h11.Connection(h11.SERVER, HEADER_BYTES)
    try:
        connection.receive_data(data)
        connection.receive_data(b"")
        for _ in range(MOST_REQUESTS):
            request, body = connection.next_event(), bytearray()
            if not isinstance(request, h11.Request):
                return
            while isinstance(part := connection.next_event(), h11.Data):
                body += part.data
            yield _scope(request), bytes(body)
            if not isinstance(part, h11.EndOfMessage):
                return
            connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
            connection.send(h11.EndOfMessage())
            connection.start_next_cycle()
    except h11.ProtocolError:
        return


def _scope(request: h11.Request) -> Scope:
    raw_path, _, query = request.target.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": request.http_version.decode(),
        "server": ("127.0.0.1", 7860),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "method": request.method.decode("ascii"),
        "root_path": "",
        "path": unquote(raw_path.decode("ascii")),
        "raw_path": raw_path,
        "query_string": query,
        "headers": list(request.headers),
        "state": {},
    }


async def _answer(app: Any, scope: Scope, body: bytes) -> int:
    """Ask, and check the answer. Its status."""
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    await LOOP.settle(0)
    if not sent:
        raise Finding("there is no answer")
    status = sent[0]["status"]
    _check_answer(scope, status, sent[0]["headers"], b"".join(message.get("body", b"") for message in sent[1:]))
    return status


def _check_answer(scope: Scope, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    request = f"{scope['method'][:20]} {scope['path'][:100]!r}"
    if status >= 500 and status != 503:
        raise Finding(f"{request} is answered with {status}")
    try:
        h11.Response(status_code=status, headers=headers)
    except h11.ProtocolError as error:
        raise Finding(f"{request} has an answer that is not HTTP: {error}") from error
    if status < 400 or not body or scope["path"].strip("/") in PLAIN or scope["method"] == "HEAD":
        return
    if not dict(headers).get(b"content-type", b"").startswith(b"application/json"):
        return
    reply = json.loads(body)
    line = reply.get("error") or reply["detail"]  # the second is how the page's framework refuses a file
    if "\n" in line or not line or len(line) > LINE_CHARS:
        raise Finding(f"{request} is refused in other than one line: {line[:300]!r}")
