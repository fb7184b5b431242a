"""Server-sent events as types, named as in the OpenAPI document, and how they are read from the lines of an answer."""

from collections.abc import AsyncIterator, Iterator

import msgspec
from msgspec import Struct

DATA = "data: "


class EventBase(Struct, frozen=True, tag_field="event", kw_only=True):
    """id: counts all events of the run; at: Unix time in seconds."""

    id: int
    at: float


class PromptAcceptedEvent(EventBase, frozen=True, tag="accepted", kw_only=True):
    """A prompt update was accepted. chunk: the newest generated one at that time."""

    update: str
    prompt: str
    chunk: int
    truncated: bool = False
    read_chars: int | None = None


class Applied(EventBase, frozen=True, tag="applied", kw_only=True):
    """The first chunk with the update was planned."""

    update: str
    chunk: int
    epoch: int


class Visible(EventBase, frozen=True, tag="visible", kw_only=True):
    """The update's first frame is shown."""

    update: str
    chunk: int
    media_s: float
    latency_ms: float
    latency_chunks: int


class Superseded(EventBase, frozen=True, tag="superseded", kw_only=True):
    """A newer update replaced this one before anybody saw it."""

    update: str
    by: str


class Failed(EventBase, frozen=True, tag="failed", kw_only=True):
    """An update can't be seen any more; without `update`, the stream failed."""

    reason: str
    update: str | None = None


class ControlApplied(EventBase, frozen=True, tag="control", kw_only=True):
    """A command was applied."""

    action: str
    value: int | None


class SourceChanged(EventBase, frozen=True, tag="source", kw_only=True):
    """The input got another strength."""

    strength: float


class TimelineReplaced(EventBase, frozen=True, tag="timeline", kw_only=True):
    """first_chunk: the chunk of the stream from which the entries count."""

    entries: int
    first_chunk: int


class LeaseChanged(EventBase, frozen=True, tag="lease", kw_only=True):
    """holder: an id; waiting: how many clients wait."""

    reason: str
    holder: str | None
    waiting: int


class ClipChanged(EventBase, frozen=True, tag="clip", kw_only=True):
    """A clip started, ended or failed."""

    clip: str
    state: str


class Epoch(EventBase, frozen=True, tag="epoch", kw_only=True):
    """The history was dropped."""

    epoch: int
    reason: str


class RankState(EventBase, frozen=True, tag="rank", kw_only=True):
    """A process of the run changed its state."""

    rank: int
    state: str


class Restarting(EventBase, frozen=True, tag="restarting", kw_only=True):
    """The mesh has failed and restarts."""

    reason: str
    text: str
    generation: int


class Restarted(EventBase, frozen=True, tag="restarted", kw_only=True):
    """The mesh is up again."""

    generation: int


class MediaChanged(EventBase, frozen=True, tag="media", kw_only=True):
    """The media process has failed, and all viewers with it, or is up again."""

    state: str
    reason: str | None
    text: str


Event = (
    PromptAcceptedEvent | Applied | Visible | Superseded | Failed | ControlApplied | SourceChanged | TimelineReplaced
    | LeaseChanged | ClipChanged | Epoch | RankState | Restarting | Restarted | MediaChanged
)  # fmt: skip
_decoder = msgspec.json.Decoder(Event)


def read_event(line: str) -> Event | None:
    """The event in a line of an answer; None for other lines, and for events that only a newer server knows."""
    if not line.startswith(DATA):
        return None
    try:
        return _decoder.decode(line.removeprefix(DATA))
    except msgspec.ValidationError:
        return None


def read_events(lines: Iterator[str]) -> Iterator[Event]:
    """The events in the lines of an answer."""
    return (event for line in lines if (event := read_event(line)) is not None)


async def read_events_async(lines: AsyncIterator[str]) -> AsyncIterator[Event]:
    """The same for lines that are awaited."""
    async for line in lines:
        if (event := read_event(line)) is not None:
            yield event
