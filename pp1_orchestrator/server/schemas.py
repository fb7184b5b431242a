"""JSON bodies of requests and responses as pydantic models, which FastAPI validates, serialises and documents.

A model named like a type in `types` is its JSON form. Stage 0 has the rules about the content of prompts, seeds and
entries; their bounds are only documented here. Knows nothing of routes.
"""

from typing import Annotated, Any, Literal, TypeVar, cast

import msgspec
from pydantic import BaseModel, ConfigDict, FailFast, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from pp1_orchestrator.server.responses import MAX_ECHO_CHARS
from pp1_orchestrator.types import MAX_PROMPT_CHARS, MAX_PROMPTS, MAX_SEED, MAX_TRANSITION_STEPS

T = TypeVar("T")
Text = Annotated[
    str, WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_PROMPT_CHARS, "pattern": r"\S"})
]
Weight = Annotated[float, Field(strict=True), WithJsonSchema({"type": "number", "minimum": 0})]
Seed = Annotated[int, Field(strict=True), WithJsonSchema({"type": "integer", "minimum": 0, "maximum": MAX_SEED})]
Steps = Annotated[
    int, Field(strict=True), WithJsonSchema({"type": "integer", "minimum": 0, "maximum": MAX_TRANSITION_STEPS})
]
Strength = Annotated[float, Field(strict=True), WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1})]
Count = Annotated[int, Field(strict=True), WithJsonSchema({"type": "integer", "minimum": 0})]
Interpolation = Literal["linear", "slerp"]


def _one_of(*rules: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"oneOf": list(rules)})


class Schema(BaseModel):
    """Base of all models. An unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class _Body(Schema):
    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_fields(cls, data: Any) -> Any:
        """pydantic's own error for one does not list the known fields."""
        given: object = data
        for name in cast(dict[str, Any], given) if isinstance(given, dict) else ():
            if name not in cls.model_fields:
                context = {"name": name[:MAX_ECHO_CHARS], "choices": ", ".join(cls.model_fields)}
                raise PydanticCustomError("unknown_field", "Object contains unknown field `{name}`", context)
        return data

    def convert(self, kind: type[T]) -> T:
        """The same as a msgspec struct of `types`."""
        return msgspec.convert(self.model_dump(exclude_unset=True), kind)


class WeightedPrompt(_Body):
    """One prompt of a blend."""

    text: Text
    weight: Weight = 1.0


class Transition(_Body):
    """How many chunks it takes to reach the new conditioning, and along which path. 0 and 1: with the next chunk."""

    steps: Steps = 0
    method: Interpolation = "linear"


class _Update(_Body):
    prompt: Text | None = None
    prompts: Annotated[list[WeightedPrompt], FailFast(), Field(json_schema_extra={"maxItems": MAX_PROMPTS})] = []
    blend: Interpolation = "linear"
    transition: Transition | None = None
    cut: Literal["soft", "hard", "recache"] = "soft"


class PromptUpdate(_Update):
    """A change of what the stream shows. Either `prompt` or `prompts`."""

    model_config = _one_of(
        {"required": ["prompt"], "properties": {"prompt": {"type": "string"}}},
        {"required": ["prompts"], "properties": {"prompts": {"minItems": 1}}},
    )


class TimelineEntry(_Update):
    """A change at a chunk: an update, a seed, a strength of the input, a hard cut, or several of them.

    dropped: how many chunks a live run generated and dropped before it; a replay with run.script does the same, and a
    running stream refuses it.
    """

    chunk: Count
    seed: Seed | None = None
    strength: Strength | None = None
    dropped: Count = 0


class TimelineBody(_Body):
    """relative: chunks count from the next one that can still be planned; otherwise from the start of the stream."""

    entries: Annotated[list[TimelineEntry], FailFast()]
    relative: Annotated[bool, Field(strict=True)] = True


class Control(_Body):
    """A command to the running stream. Only `seed` has a `value`."""

    model_config = _one_of(
        {"required": ["value"], "properties": {"action": {"enum": ["seed"]}, "value": {"type": "integer"}}},
        {"properties": {"action": {"enum": ["pause", "resume", "hard_cut"]}, "value": {"type": "null"}}},
    )
    action: Literal["pause", "resume", "hard_cut", "seed"]
    value: Seed | None = None


class SourceUpdate(_Body):
    """strength: how far chunks may leave their input; with 1 they are as from text alone."""

    strength: Strength


class ClipCommand(_Body):
    """start: begin with the frame that is shown now; stop: end. A clip also ends at its limits."""

    action: Literal["start", "stop"]


class LeaseCommand(_Body):
    """take: hold control, if nobody does; request: wait for it; renew: keep holding or waiting.

    name: shown to others. Given again, it replaces the one before.
    """

    action: Literal["take", "request", "renew"]
    name: str | None = None


class HandOver(_Body):
    """to: the id of a waiting client; by default the one that has waited longest."""

    to: str | None = None


class Error(Schema):
    """Why a request was refused: one line."""

    error: str


class _Accepted(Schema):
    state: Literal["accepted"]


class PromptAccepted(_Accepted):
    """id: the update's id; events about it have it as `update`.

    truncated: a prompt is longer than the text encoder's limit, and its end has no effect; read_chars: how many of its
    characters have one. Both are left out otherwise.
    """

    id: str
    truncated: bool = False
    read_chars: int | None = None


class PromptGuide(Schema):
    """What the model understands. summary: a line for people; words: all that it was trained on. Empty if not known."""

    summary: str
    words: list[str]


class ControlAccepted(_Accepted):
    """The accepted command."""

    action: str


class SourceAccepted(_Accepted):
    """The accepted strength."""

    strength: float


class TimelineAccepted(_Accepted):
    """How many entries were accepted, and the chunk of the stream from which they count."""

    entries: int
    first_chunk: int


class TimelineCleared(_Accepted):
    """entries: how many are planned now, which is 0."""

    entries: int


class Entries(Schema):
    """Changes by chunk, in order."""

    entries: list[TimelineEntry]


class Clip(Schema):
    """What viewers saw, as an MP4 file that can be downloaded when `state` is ready.

    ended: why it ended: asked, length or size (its limits), stopped (the program), or an error.
    """

    id: str
    state: Literal["recording", "ready", "failed"]
    seconds: float
    frames: int
    bytes: int
    ended: str | None


class Clips(Schema):
    """The clips that are kept, oldest first."""

    clips: list[Clip]


class LeaseParticipant(Schema):
    """A client that holds control or waits for it."""

    id: str
    name: str


class LeaseState(Schema):
    """The client that holds control, and those that wait, the longest first. Without a holder, every client may change
    the stream."""

    holder: LeaseParticipant | None
    waiting: list[LeaseParticipant]


class Lease(Schema):
    """A client's own lease. `key` is secret and goes into the header PP1-Lease. It expires `expires_s` seconds after it
    was last renewed. holds: the client has control; otherwise it waits.
    """

    key: str
    id: str
    name: str
    holds: bool
    expires_s: float


class Share(Schema):
    """A link for viewers. qr: the same as the address of an image. note: who can use it."""

    link: str
    qr: str
    note: str
