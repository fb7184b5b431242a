"""What the interface answers in JSON, as types: they are encoded, described in the OpenAPI document and tested against.

Bodies that are taken are in `ports`. Knows nothing of routes.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pp1_orchestrator.ports import TimelineEntry


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
    """A process of the run."""

    pid: int
    device: str
    state: str


class StreamState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The stream as it is now. `chunk` is the newest one that was planned; `failed` says why the stream has ended.

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
    truncated: bool = False
