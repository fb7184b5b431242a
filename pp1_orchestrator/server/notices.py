"""The events of a stream as types: what `data` of a server-sent event holds, by its `event`.

They describe what is published on the bus; tests hold a running stream's events against them.
"""

from __future__ import annotations

import msgspec


class _Notice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="event"):
    """id: counts all events of the run; at: Unix time in seconds."""

    id: int
    at: float


class Accepted(_Notice, frozen=True, tag="accepted", kw_only=True):
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


class Commanded(_Notice, frozen=True, tag="control", kw_only=True):
    """A command was taken."""

    action: str
    value: int | None


class Planned(_Notice, frozen=True, tag="timeline", kw_only=True):
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
    Accepted
    | Applied
    | Visible
    | Superseded
    | Failed
    | Commanded
    | Planned
    | LeaseChanged
    | ClipChanged
    | Epoch
    | RankState
    | Restarting
    | Restarted
)
