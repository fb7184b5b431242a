"""JSON bodies of requests and responses as pydantic models, which FastAPI validates, serialises and documents.

A model named like a type in `ports` is its JSON form. Stage 0 has the rules about the content of prompts, seeds and
entries; their bounds are only documented here. Knows nothing of routes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from pp1_orchestrator.types import MAX_PROMPT_CHARS, MAX_PROMPTS, MAX_SEED, MAX_TRANSITION_STEPS

T = TypeVar("T")
MAX_ECHO_CHARS = 80


Text = Annotated[
    str, WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_PROMPT_CHARS, "pattern": r"\S"})
]
Weight = Annotated[float, Field(strict=True), WithJsonSchema({"type": "number", "minimum": 0})]
Seed = Annotated[int, Field(strict=True), WithJsonSchema({"type": "integer", "minimum": 0, "maximum": MAX_SEED})]
Steps = Annotated[
    int, Field(strict=True), WithJsonSchema({"type": "integer", "minimum": 0, "maximum": MAX_TRANSITION_STEPS})
]
Count = Annotated[int, Field(strict=True), WithJsonSchema({"type": "integer", "minimum": 0})]
Interpolation = Literal["linear", "slerp"]


class Schema(BaseModel):
    """Base of all models. An unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class _Body(Schema):
    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_fields(cls, data: Any) -> Any:
        """pydantic's own error for them does not say which fields there are."""
        unknown = (
            next((name for name in data if name not in cls.model_fields), None) if isinstance(data, dict) else None
        )
        if unknown is not None:
            context = {"name": unknown[:MAX_ECHO_CHARS], "choices": ", ".join(cls.model_fields)}
            raise PydanticCustomError("unknown_field", "Object contains unknown field `{name}`", context)
        return data

    def convert(self, kind: type[T]) -> T:
        """The same as a msgspec struct of the other parts of the program."""
        return msgspec.convert(self.model_dump(exclude_unset=True), kind)


class WeightedPrompt(_Body):
    """One prompt of a blend."""

    text: Text
    weight: Weight = 1.0


class Transition(_Body):
    """Over how many chunks a new conditioning is reached, and along which path. 0 and 1 both mean at once."""

    steps: Steps = 0
    method: Interpolation = "linear"


class _Update(_Body):
    prompt: Text | None = None
    prompts: Annotated[list[WeightedPrompt], Field(json_schema_extra={"maxItems": MAX_PROMPTS})] = []
    blend: Interpolation = "linear"
    transition: Transition | None = None
    cut: Literal["soft", "hard", "recache"] = "soft"


class PromptUpdate(_Update):
    """One change of what the stream shows. Either `prompt` or `prompts`."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["prompt"], "properties": {"prompt": {"type": "string"}}},
                {"required": ["prompts"], "properties": {"prompts": {"minItems": 1}}},
            ]
        }
    )


class TimelineEntry(_Update):
    """A change at a certain chunk: an update, a seed, a hard cut, or several of them at once.

    dropped: how many chunks before it a live run made and threw away; a replay does the same.
    """

    chunk: Count
    seed: Seed | None = None
    dropped: Count = 0


class TimelineBody(_Body):
    """relative: the entries' chunks count from the next one that can still be planned; otherwise from the start."""

    entries: list[TimelineEntry]
    relative: Annotated[bool, Field(strict=True)] = True


class Control(_Body):
    """One command to the running stream. `seed` needs `value`."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["value"], "properties": {"action": {"enum": ["seed"]}, "value": {"type": "integer"}}},
                {"properties": {"action": {"enum": ["pause", "resume", "hard_cut"]}, "value": {"type": "null"}}},
            ]
        }
    )
    action: Literal["pause", "resume", "hard_cut", "seed"]
    value: Seed | None = None


class ClipCommand(_Body):
    """start begins with the picture that is shown now; stop ends it, which also happens by itself at its limits."""

    action: Literal["start", "stop"]


class LeaseCommand(_Body):
    """take: hold control, if nobody else does; request: wait for it, and have it as soon as it is free or handed over;
    renew: still here. name: what others see, of a client that is new.
    """

    action: Literal["take", "request", "renew"]
    name: str | None = None


class HandOver(_Body):
    """to: the id of a client that waits; without it the one that waits longest."""

    to: str | None = None


class Error(Schema):
    """Why a request was refused: one line."""

    error: str


class _Accepted(Schema):
    state: Literal["accepted"]


class PromptAccepted(_Accepted):
    """The update's id, which its receipts at /api/events carry as `update`.

    truncated: a prompt is longer than the text encoder reads; only its beginning has an effect. Left out otherwise.
    """

    id: str
    truncated: bool = False


class ControlAccepted(_Accepted):
    """The command that was taken."""

    action: str


class TimelineAccepted(_Accepted):
    """How many entries were taken, and the chunk of the stream that they count from."""

    entries: int
    first_chunk: int


class TimelineCleared(_Accepted):
    """How many entries are planned now: none."""

    entries: int


class Entries(Schema):
    """Changes by chunk, in order."""

    entries: list[TimelineEntry]


class Clip(Schema):
    """What viewers saw, as an MP4 file. It can be had as soon as it is ready.

    ended: why nothing is added any more: asked, length or size (its limits), stopped (the program), or what went wrong.
    """

    id: str
    state: Literal["recording", "ready", "failed"]
    seconds: float
    frames: int
    bytes: int
    ended: str | None


class Clips(Schema):
    """Clips that are kept, oldest first."""

    clips: list[Clip]


class LeaseParticipant(Schema):
    """A client that holds control or waits for it, as others see it."""

    id: str
    name: str


class LeaseState(Schema):
    """Who holds control, and who waits for it, longest first. While nobody holds it everybody may change the stream."""

    holder: LeaseParticipant | None
    waiting: list[LeaseParticipant]


class Lease(Schema):
    """A client's own place. `key` is its secret, for the header PP1-Lease; it is forgotten after `expires_s` seconds of
    silence. holds: it has control; otherwise it waits.
    """

    key: str
    id: str
    name: str
    holds: bool
    expires_s: float


class Phases(Schema):
    """Milliseconds a chunk: the median of the newest ones, of text the longest."""

    text: float
    denoise: float
    context: float
    decode: float


class Figures(Schema):
    """Over the newest chunks. A figure is left out until there is something to say."""

    chunks: int = 0
    fps: float | None = None
    phases_ms: Phases | None = None
    prompt_to_pixels_ms: float | None = None
    prompt_to_pixels_chunks: int | None = None


class Rank(Schema):
    """A process of the run. memory: bytes by component; `resident`: of the process, `peak`: the most so far."""

    pid: int
    device: str
    state: str
    memory: dict[str, int] = {}


class StreamState(Schema):
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
