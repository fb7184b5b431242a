"""What the HTTP interface can be asked, for both clients: each operation's route, and how its answer is read.

Sends nothing. A test compares the operations with the OpenAPI document.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from pp1_orchestrator.client import api_answers as answers
from pp1_orchestrator.errors import RequestError, first_line

T = TypeVar("T")
LEASE_HEADER, JSON, SDP = "PP1-Lease", "application/json", "application/sdp"
TIMEOUT_S = 30.0
"""Of one answer. An event stream says something every few seconds."""
UNREADABLE = (msgspec.MsgspecError, KeyError, UnicodeDecodeError, RecursionError)
"""Raised by `Operation.read` for an answer of something else than this program."""


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """name: its id in the document. answer: the type of a JSON body."""

    name: str
    method: str
    path: str
    read: Callable[[httpx.Response], T]
    answer: type[Any] | None = None


def _json(name: str, method: str, path: str, kind: type[T]) -> Operation[T]:
    decode = msgspec.json.Decoder(kind).decode
    return Operation(name, method, path, lambda response: decode(response.content), kind)


def _text(response: httpx.Response) -> str:
    return response.text


def _content(response: httpx.Response) -> bytes:
    return response.content


def _nothing(response: httpx.Response) -> None:
    return None


def _is_success(response: httpx.Response) -> bool:
    return response.is_success


def _session(response: httpx.Response) -> answers.ViewerSession:
    return answers.ViewerSession(response.headers["Location"], response.text)


def _links(response: httpx.Response) -> list[str]:
    return response.headers.get_list("Link")


STATE = _json("state", "GET", "/api/state", answers.StreamState)
PROMPT = _json("prompt", "POST", "/api/prompt", answers.PromptAccepted)
GUIDE = _json("guide", "GET", "/api/prompt/guide", answers.PromptGuide)
CONTROL = _json("control", "POST", "/api/control", answers.ControlAccepted)
SOURCE = _json("source", "POST", "/api/source", answers.SourceAccepted)
PLANNED = _json("planned", "GET", "/api/timeline", answers.Entries)
PLAN = _json("plan", "PUT", "/api/timeline", answers.TimelineAccepted)
CLEAR = _json("clear", "DELETE", "/api/timeline", answers.TimelineCleared)
RECORDING = _json("recording", "GET", "/api/recording", answers.Entries)
HISTORY = _json("history", "GET", "/api/history", answers.UpdateHistory)
CLIPS = _json("listed", "GET", "/api/clips", answers.Clips)
RECORD = _json("record", "POST", "/api/clips", answers.Clip)
CLIP_FILE = Operation("fetch", "GET", "/api/clips/{clip_id}", _content)
HOLDER = _json("holder", "GET", "/api/lease", answers.LeaseState)
CLAIM = _json("claim", "POST", "/api/lease", answers.Lease)
RELEASE = _json("release", "DELETE", "/api/lease", answers.LeaseState)
HAND_OVER = _json("hand_over", "POST", "/api/lease/handover", answers.LeaseState)
EVENTS = Operation("follow", "GET", "/api/events", _nothing)
"""Its answer has no end; the clients read it line by line."""
SHARE = _json("share", "GET", "/api/share", answers.Share)
WATCH_PAGE = Operation("watch_alone", "GET", "/watch", _text)
VIEWER_SERVERS = Operation("servers", "OPTIONS", "/whep", _links)
WATCH = Operation("watch", "POST", "/whep", _session)
LEAVE = Operation("leave", "DELETE", "/whep/{viewer_id}", _nothing)
METRICS = Operation("metrics", "GET", "/metrics", _text)
OPENAPI = _json("openapi", "GET", "/api/openapi.json", dict[str, Any])
READY = Operation("ready", "GET", "/readyz", _is_success)
ALIVE = Operation("alive", "GET", "/healthz", _is_success)

OPERATIONS: Sequence[Operation[Any]] = (
    STATE, PROMPT, GUIDE, CONTROL, SOURCE, PLANNED, PLAN, CLEAR, RECORDING, HISTORY, CLIPS, RECORD, CLIP_FILE, HOLDER,
    CLAIM, RELEASE, HAND_OVER, EVENTS, SHARE, WATCH_PAGE, VIEWER_SERVERS, WATCH, LEAVE, METRICS, OPENAPI, READY, ALIVE,
)  # fmt: skip
PROBES: Sequence[Operation[Any]] = (READY, ALIVE)


def request_of(
    http: httpx.Client | httpx.AsyncClient,
    operation: Operation[Any],
    body: object = None,
    params: Mapping[str, str] | None = None,
    lease_key: str | None = None,
    **place: str,
) -> httpx.Request:
    """A request that is ready to be sent. body: for JSON, or SDP as text. place: what the path has in braces."""
    path = operation.path.format(**{name: quote(value, safe="") for name, value in place.items()})
    headers = {LEASE_HEADER: lease_key} if lease_key else {}
    content = None
    if isinstance(body, str):
        content, headers["Content-Type"] = body.encode(), SDP
    elif body is not None:
        content, headers["Content-Type"] = msgspec.json.encode(body), JSON
    return http.build_request(operation.method, path, content=content, params=params, headers=headers)


def check(response: httpx.Response) -> None:
    """Raise RequestError with the server's own line, and its status, for an answer that refuses. It has been read."""
    if response.is_success:
        return
    try:
        line = str(msgspec.json.decode(response.content, type=dict[str, Any])["error"])
    except UNREADABLE:  # from a proxy
        line = f"{_asked(response)}: {response.status_code} {response.reason_phrase}"
    raise RequestError(line, response.status_code)


def read(operation: Operation[T], response: httpx.Response) -> T:
    """The answer. Raises RequestError where the server refuses, or answers as this program does not."""
    if operation not in PROBES:
        check(response)
    try:
        return operation.read(response)
    except UNREADABLE as error:
        line = f"{_asked(response)}: the answer is not one of this program: {first_line(error)}"
        raise RequestError(line, response.status_code) from error


def _asked(response: httpx.Response) -> str:
    return f"{response.request.method} {response.request.url.path}"


def headers_of(token: str | None) -> httpx.Headers:
    return httpx.Headers({"Authorization": f"Bearer {token}"} if token else {}, encoding="utf-8")
