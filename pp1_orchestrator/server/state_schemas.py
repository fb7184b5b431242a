"""The JSON of `/api/state` as pydantic models. Knows nothing of routes."""

from typing import Any, Literal

from pp1_orchestrator.server.schemas import Clip, LeaseState, Schema


class Phases(Schema):
    """Milliseconds per chunk: the median over the newest chunks, for text the maximum."""

    text: float
    denoise: float
    context: float
    decode: float


class Figures(Schema):
    """Figures over the newest chunks. Each is left out until it is known."""

    chunks: int = 0
    fps: float | None = None
    phases_ms: Phases | None = None
    prompt_to_pixels_ms: float | None = None
    prompt_to_pixels_chunks: int | None = None


class Rank(Schema):
    """A process of the run. memory: bytes by component; `resident` is the whole process, `peak` the maximum so far."""

    pid: int
    device: str
    state: str
    memory: dict[str, int] = {}  # noqa: RUF012 - pydantic copies it


class SourceState(Schema):
    """What comes in beside the text. strength: of the newest planned chunk.

    state: playing; ended: the file's last frame stays; failed: the same, because it can't be read any more.
    """

    name: str
    mode: str
    strength: float
    state: Literal["playing", "ended", "failed"]


class StreamState(Schema):
    """The current state of the stream.

    chunk: the newest generated one, -1 before the first; later ones may be planned already. failed: why the stream has
    ended. clip: the newest one. state: starting, ready, restarting, draining, failed or stopped. truncated: the end of
    `prompt` has no effect. may_change: false for a token that only permits watching. source: null without an input.
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
    may_change: bool
    truncated: bool = False
    source: SourceState | None = None
