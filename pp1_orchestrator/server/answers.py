"""What the interface answers in JSON, as types: they are encoded, described in the OpenAPI document and tested against.

Bodies that are taken are in `ports`. Knows nothing of routes.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pp1_orchestrator.ports import Clip, TimelineEntry


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


class Seat(msgspec.Struct, frozen=True):
    """A client that holds control or waits for it, as others see it."""

    id: str
    name: str


class LeaseState(msgspec.Struct, frozen=True):
    """Who holds control, and who waits for it, longest first. While nobody holds it everybody may change the stream."""

    holder: Seat | None
    waiting: list[Seat]


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
