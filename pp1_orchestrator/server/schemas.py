"""What the interface answers in JSON, as types: they are encoded, described in the OpenAPI document and tested against.

Bodies that are taken are in `ports`. Knows nothing of routes.

The events of a stream as types: what `data` of a server-sent event holds, by its `event`.

They describe what is published on the bus; tests hold a running stream's events against them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pp1_orchestrator.types import Clip, TimelineEntry


class Error(msgspec.Struct, frozen=True):
    """Why a request was refused: one line."""

    error: str


class PromptAccepted(msgspec.Struct, frozen=True, tag_field="state", tag="accepted", omit_defaults=True):
    """The update's id, which its receipts at /api/events carry as `update`.

    truncated: a prompt is longer than the text encoder reads; only its beginning has an effect. Left out otherwise.
    """

    id: str
    truncated: bool = False


class ControlAccepted(msgspec.Struct, frozen=True, tag_field="state", tag="accepted"):
    """The command that was taken."""

    action: str


class TimelineAccepted(msgspec.Struct, frozen=True, tag_field="state", tag="accepted"):
    """How many entries were taken, and the chunk of the stream that they count from."""

    entries: int
    first_chunk: int


class TimelineCleared(msgspec.Struct, frozen=True, tag_field="state", tag="accepted"):
    """How many entries are planned now: none."""

    entries: int


class Entries(msgspec.Struct, frozen=True):
    """Changes by chunk, in order."""

    entries: list[TimelineEntry]


class Clips(msgspec.Struct, frozen=True):
    """Clips that are kept, oldest first."""

    clips: list[Clip]


class LeaseParticipant(msgspec.Struct, frozen=True):
    """A client that holds control or waits for it, as others see it."""

    id: str
    name: str


class LeaseState(msgspec.Struct, frozen=True):
    """Who holds control, and who waits for it, longest first. While nobody holds it everybody may change the stream."""

    holder: LeaseParticipant | None
    waiting: list[LeaseParticipant]


class Lease(msgspec.Struct, frozen=True):
    """A client's own place. `key` is its secret, for the header PP1-Lease; it is forgotten after `expires_s` seconds of
    silence. holds: it has control; otherwise it waits.
    """

    key: str
    id: str
    name: str
    holds: bool
    expires_s: float


class Phases(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Milliseconds a chunk: the median of the newest ones, of text the longest."""

    text: float
    denoise: float
    context: float
    decode: float


class Figures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Over the newest chunks. A figure is left out until there is something to say."""

    chunks: int = 0
    fps: float | None = None
    phases_ms: Phases | None = None
    prompt_to_pixels_ms: float | None = None
    prompt_to_pixels_chunks: int | None = None


class Rank(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A process of the run. memory: bytes by component; `resident`: of the process, `peak`: the most so far."""

    pid: int
    device: str
    state: str
    memory: dict[str, int] = {}


class StreamState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The stream as it is now. `chunk` is the newest one that has been generated, -1 before the first; later ones may
    be planned already. `failed` says why the stream has ended. clip: the newest one.

    state: starting, ready, restarting, draining, failed or stopped. truncated: the end of `prompt` has no effect.
    """

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
    truncated: bool = False


class _Notice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="event"):
    """id: counts all events of the run; at: Unix time in seconds."""

    id: int
    at: float


class PromptAcceptedEvent(_Notice, frozen=True, tag="accepted", kw_only=True):
    """A prompt update was taken while `chunk` was the newest one that had been generated."""

    update: str
    prompt: str
    chunk: int


class Applied(_Notice, frozen=True, tag="applied", kw_only=True):
    """The first chunk that is made with an update was planned."""

    update: str
    chunk: int
    epoch: int


class Visible(_Notice, frozen=True, tag="visible", kw_only=True):
    """An update's first picture goes out. media_s: seconds since the run's first picture; latency: since accepted."""

    update: str
    chunk: int
    media_s: float
    latency_ms: float
    latency_chunks: int


class Superseded(_Notice, frozen=True, tag="superseded", kw_only=True):
    """A newer update came before a chunk could be made with this one."""

    update: str
    by: str


class Failed(_Notice, frozen=True, tag="failed", kw_only=True):
    """An update could not be encoded; without `update`: the stream has ended."""

    reason: str
    update: str | None = None


class ControlApplied(_Notice, frozen=True, tag="control", kw_only=True):
    """A command was taken."""

    action: str
    value: int | None


class TimelineReplaced(_Notice, frozen=True, tag="timeline", kw_only=True):
    """The timeline was replaced from this chunk on."""

    entries: int
    first_chunk: int


class LeaseChanged(_Notice, frozen=True, tag="lease", kw_only=True):
    """Others hold control, or wait for it, than before. holder: the id of who holds it now; waiting: how many do.

    reason: taken, requested, handed over, released, withdrawn or expired.
    """

    reason: str
    holder: str | None
    waiting: int


class ClipChanged(_Notice, frozen=True, tag="clip", kw_only=True):
    """A clip is being recorded, or is so no more."""

    clip: str
    state: str


class Epoch(_Notice, frozen=True, tag="epoch", kw_only=True):
    """The history was forgotten."""

    epoch: int
    reason: str


class RankState(_Notice, frozen=True, tag="rank", kw_only=True):
    """A process of the run changed its state."""

    rank: int
    state: str


class Restarting(_Notice, frozen=True, tag="restarting", kw_only=True):
    """The mesh has failed and is started anew, as this generation; the last picture stands until it is up."""

    reason: str
    text: str
    generation: int


class Restarted(_Notice, frozen=True, tag="restarted", kw_only=True):
    """The new mesh is up; the next pictures are made by it."""

    generation: int


Notice = (
    PromptAcceptedEvent
    | Applied
    | Visible
    | Superseded
    | Failed
    | ControlApplied
    | TimelineReplaced
    | LeaseChanged
    | ClipChanged
    | Epoch
    | RankState
    | Restarting
    | Restarted
)
