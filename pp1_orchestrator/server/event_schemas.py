"""Server-sent events as pydantic models: the JSON in `data`, by the name in `event`.

They document what is published on the event bus and are not used to publish it; tests validate a running stream's
events against them.
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from pp1_orchestrator.server.schemas import Schema


class _Event(Schema):
    """id: counts all events of the run; at: Unix time in seconds."""

    model_config = ConfigDict(defer_build=True)  # only the OpenAPI document needs them

    id: int
    at: float


class PromptAcceptedEvent(_Event):
    """A prompt update was accepted. chunk: the newest generated one at that time.

    truncated: a prompt is longer than the text encoder's limit, and its end has no effect; read_chars: how many of its
    characters have one. Both are left out otherwise.
    """

    event: Literal["accepted"]
    update: str
    prompt: str
    chunk: int
    truncated: bool = False
    read_chars: int | None = None


class Applied(_Event):
    """The first chunk with the update was planned."""

    event: Literal["applied"]
    update: str
    chunk: int
    epoch: int


class Visible(_Event):
    """The update's first frame is shown. media_s: seconds since the run's first frame; latency: since accepted."""

    event: Literal["visible"]
    update: str
    chunk: int
    media_s: float
    latency_ms: float
    latency_chunks: int


class Superseded(_Event):
    """A newer update replaced this one before anybody saw it."""

    event: Literal["superseded"]
    update: str
    by: str


class Failed(_Event):
    """An update could not be encoded, or the stream ended before it was seen. Without `update`: the stream failed."""

    event: Literal["failed"]
    reason: str
    update: str | None = None


class ControlApplied(_Event):
    """A command was applied."""

    event: Literal["control"]
    action: str
    value: int | None


class SourceChanged(_Event):
    """The input got another strength."""

    event: Literal["source"]
    strength: float


class TimelineReplaced(_Event):
    """The timeline was replaced. first_chunk: the chunk of the stream from which the entries count."""

    event: Literal["timeline"]
    entries: int
    first_chunk: int


class LeaseChanged(_Event):
    """The holder of control or the waiting clients changed. holder: an id; waiting: how many clients wait.

    reason: taken, requested, handed over, released, withdrawn, renamed or expired.
    """

    event: Literal["lease"]
    reason: str
    holder: str | None
    waiting: int


class ClipChanged(_Event):
    """A clip started, ended or failed."""

    event: Literal["clip"]
    clip: str
    state: str


class Epoch(_Event):
    """A new cache epoch: the history was dropped."""

    event: Literal["epoch"]
    epoch: int
    reason: str


class RankState(_Event):
    """A process of the run changed its state."""

    event: Literal["rank"]
    rank: int
    state: str


class Restarting(_Event):
    """The mesh has failed and restarts as this generation. Until then the last frame is shown."""

    event: Literal["restarting"]
    reason: str
    text: str
    generation: int


class Restarted(_Event):
    """The restarted mesh is up."""

    event: Literal["restarted"]
    generation: int


class MediaChanged(_Event):
    """The media process has failed, and all viewers with it, or is up again: then connect again.

    state: restarting, failed (no restart is left for now) or up. reason: death, hang or error.
    """

    event: Literal["media"]
    state: str
    reason: str | None
    text: str


Event = Annotated[
    PromptAcceptedEvent | Applied | Visible | Superseded | Failed | ControlApplied | SourceChanged | TimelineReplaced
    | LeaseChanged | ClipChanged | Epoch | RankState | Restarting | Restarted | MediaChanged,
    Field(discriminator="event"),
]  # fmt: skip
EVENT: TypeAdapter[Any] = TypeAdapter(Event, config=ConfigDict(defer_build=True))
"""Validates an event of any kind."""
