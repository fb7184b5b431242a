"""Answers of the HTTP interface as types, named as in its OpenAPI document. Unknown fields are ignored: a newer server
may send some."""

from typing import Any, Literal

from msgspec import Struct

from pp1_orchestrator.types import PromptUpdate, TimelineEntry


class PromptAccepted(Struct, frozen=True):
    """id: the update's; events about it have it as `update`. read_chars: of a prompt that is too long for the model."""

    state: str
    id: str
    truncated: bool = False
    read_chars: int | None = None


class PromptGuide(Struct, frozen=True):
    """What the model understands. summary: a line for people; words: all that it was trained on. Empty if not known."""

    summary: str
    words: list[str]


class ControlAccepted(Struct, frozen=True):
    """The accepted command."""

    state: str
    action: str


class SourceAccepted(Struct, frozen=True):
    """The accepted strength."""

    state: str
    strength: float


class TimelineAccepted(Struct, frozen=True):
    """first_chunk: the chunk of the stream from which the entries count."""

    state: str
    entries: int
    first_chunk: int


class TimelineCleared(Struct, frozen=True):
    """entries: how many are planned now."""

    state: str
    entries: int


class Entries(Struct, frozen=True):
    """Changes by chunk, in order."""

    entries: list[TimelineEntry]


class UpdateHistory(Struct, frozen=True):
    """Updates, the newest first."""

    updates: list[PromptUpdate]


class Clip(Struct, frozen=True):
    """What viewers saw, as an MP4 file that can be fetched when `state` is ready. ended: why."""

    id: str
    state: Literal["recording", "ready", "failed"]
    seconds: float
    frames: int
    bytes: int
    ended: str | None


class Clips(Struct, frozen=True):
    """The clips that are kept, oldest first."""

    clips: list[Clip]


class LeaseParticipant(Struct, frozen=True):
    """A client that holds control or waits for it."""

    id: str
    name: str


class LeaseState(Struct, frozen=True):
    """Who holds control, and who waits for it, the longest first."""

    holder: LeaseParticipant | None
    waiting: list[LeaseParticipant]


class Lease(Struct, frozen=True):
    """A client's own lease. key: secret. holds: it has control; otherwise it waits."""

    key: str
    id: str
    name: str
    holds: bool
    expires_s: float


class Phases(Struct, frozen=True):
    """Milliseconds per chunk: the median over the newest chunks, for text the maximum."""

    text: float
    denoise: float
    context: float
    decode: float


class Share(Struct, frozen=True):
    """A link for viewers. qr: the same as the address of an image. note: who can use it."""

    link: str
    qr: str
    note: str


class Figures(Struct, frozen=True):
    """Figures over the newest chunks; None until they are known."""

    chunks: int = 0
    fps: float | None = None
    phases_ms: Phases | None = None
    prompt_to_pixels_ms: float | None = None
    prompt_to_pixels_chunks: int | None = None


class Rank(Struct, frozen=True):
    """A process of the run. memory: bytes by component."""

    pid: int
    device: str
    state: str
    memory: dict[str, int] = {}


class SourceState(Struct, frozen=True):
    """What comes in beside the text. state: playing, or ended or failed, when the file's last frame stays."""

    name: str
    mode: str
    strength: float
    state: Literal["playing", "ended", "failed"]


class StreamState(Struct, frozen=True):
    """The stream as it is now. chunk: the newest, -1 before the first. failed: why it has ended."""

    config: dict[str, Any]
    prompt: str
    seed: int
    paused: bool
    state: str
    epoch: int
    chunk: int
    figures: Figures
    ranks: dict[str, Rank]
    failed: str | None
    viewers: int
    clip: Clip | None
    lease: LeaseState
    may_change: bool
    truncated: bool = False
    source: SourceState | None = None


class ViewerSession(Struct, frozen=True):
    """A viewer that the server has let in. location: the path at which to end it. answer: SDP."""

    location: str
    answer: str
