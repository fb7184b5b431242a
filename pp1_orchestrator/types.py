"""What stage 0, media, server and telemetry exchange: updates, commands, decoded chunks, states, and their bounds.

Knows nothing of processes, HTTP, codecs or configuration files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import msgspec

if TYPE_CHECKING:  # telemetry uses the states below, and works without torch
    import torch

MAX_PROMPTS = 8
MAX_PROMPT_CHARS = 2000
MAX_TRANSITION_STEPS = 1000
MAX_SEED = 2**31 - 1


StreamState = Literal["starting", "ready", "restarting", "draining", "failed", "stopped"]

DropReason = Literal["old_epoch", "nan", "failed", "late", "slow_viewer", "slow_recorder", "slow_media", "cut"]
"""old_epoch: made before a hard cut; nan: not finite, or after a chunk that is not; failed: the mesh could not make the
chunk; late: the pacer was behind; slow_viewer, slow_recorder, slow_media: a full queue of a viewer, of a clip, or of
the media process; cut: decoded before a hard cut."""

EpochReason = Literal["requested", "seed", "planned", "update", "restart", "nan", "chunk", "other"]
"""restart: a new mesh; nan: a chunk was not finite; chunk: one could not be made."""

RestartReason = Literal["death", "hang", "error"]
"""death: a process ended; hang: no answer in time; error: reported by the mesh or its link, or a new mesh failed."""

PromptOutcome = Literal["accepted", "applied", "visible", "superseded", "failed"]

ViewerTransport = Literal["webrtc", "websocket"]
"""How a viewer gets the video."""
Limited = Literal["offers", "prompts", "changes", "pending", "viewers", "address"]
"""Limits that refuse requests. offers, prompts, changes: rates of one address; pending: offers being answered, and
viewers that are connecting; viewers: all places; address: the places of one address."""


@dataclass(frozen=True, slots=True)
class DecodedChunk:
    """Pixels of one chunk."""

    chunk_index: int
    cache_epoch: int
    frames: torch.Tensor
    """uint8 [T, H, W, 3] RGB or [T, 3·H/2, W] yuv420p planes, contiguous, on the CPU. Must not be written to."""
    update_ids: tuple[str, ...]
    """Prompt updates whose first pixels these are."""
    decoded_at_s: float
    """Monotonic seconds."""


class FrameSink(Protocol):
    """Takes decoded chunks from the thread that decodes. `put` must not block for long."""

    def put(self, chunk: DecodedChunk) -> None: ...

    def wait_for_room(self, timeout_s: float, coming: int = 0, lead_s: float = 0.0) -> bool:
        """True when the next chunk should be started: at most one chunk ahead of what is shown, but in time.

        Args:
            coming: chunks that are being made and will be put first.
            lead_s: how long a chunk takes from plan to pixels.
        """
        ...

    def flush(self) -> None:
        """Drop what has not been shown (a hard cut)."""

    def close(self) -> None: ...


Interpolation = Literal["linear", "slerp"]
"""The path between embeddings."""


class WeightedPrompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One prompt of a blend."""

    text: str
    weight: float = 1.0


class Transition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many chunks a change of conditioning takes, and its path. With 0 or 1 the next chunk shows the new one."""

    steps: int = 0
    method: Interpolation = "linear"


Cut = Literal["soft", "hard", "recache"]
"""What happens to the history: soft keeps it, hard drops it, recache recomputes it under the new prompt."""


class PromptUpdate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One change of what the stream shows. Either `prompt` or `prompts`."""

    prompt: str | None = None
    prompts: tuple[WeightedPrompt, ...] = ()
    blend: Interpolation = "linear"
    transition: Transition | None = None
    cut: Cut = "soft"

    @property
    def has_prompt(self) -> bool:
        return self.prompt is not None or bool(self.prompts)


def update_of(
    prompt: str | PromptUpdate | None,
    prompts: Sequence[WeightedPrompt],
    blend: Interpolation,
    transition: Transition | None,
    cut: Cut,
) -> PromptUpdate:
    """One update from the arguments of `update_prompt`."""
    return prompt if isinstance(prompt, PromptUpdate) else PromptUpdate(prompt, tuple(prompts), blend, transition, cut)


class TimelineEntry(PromptUpdate, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A change at a certain chunk: an update, a seed, a strength of the input, a hard cut, or several of them."""

    chunk: int
    seed: int | None = None
    strength: float | None = None
    dropped: int = 0
    """How many chunks before it the recorded run made and dropped. A replay does the same."""


class Control(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One command to the running stream. `seed` needs `value`."""

    action: Literal["pause", "resume", "hard_cut", "seed"]
    value: int | None = None


class Clip(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What viewers saw, as an MP4 file, which can be downloaded when it is ready."""

    id: str
    state: Literal["recording", "ready", "failed"]
    seconds: float
    frames: int
    bytes: int
    ended: str | None
    """Why it ended: asked, length or size (its limits), stopped (the program), or an error."""


class KnownClient(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A client that holds control or waits for it, as the next run can recognise it: its key is secret and not kept."""

    id: Annotated[str, msgspec.Meta(pattern=r"^v[0-9]{1,9}$")]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    key_sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class PromptReceipt(msgspec.Struct, frozen=True):
    """An update that was accepted."""

    id: str
    truncated: bool = False
    """The text encoder reads only the beginning of a prompt in it."""
    read_chars: int | None = None
    """How many characters of that prompt it reads."""


class PromptGuide(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a model understands, as far as its files say."""

    summary: str = ""
    """A line for people."""
    words: tuple[str, ...] = ()
    """All words, in lower case, that it was trained on; none if that is not known."""


Codec = Literal["vp8", "h264"]


class ViewerMetrics(Protocol):
    """What viewers and their encoder report, in whichever process they are."""

    def viewers(self, count: int) -> None: ...

    def viewer_quality(self, rtt_s: float | None, sent: int, lost: int) -> None:
        """A viewer's report: the round-trip time to it, and packets sent and lost since its last one."""
        ...

    def limited(self, limit: Limited) -> None: ...

    def frames_dropped(self, reason: DropReason, count: int = 1) -> None: ...

    def queue_depth(self, queue: str, depth: int) -> None: ...

    def encoded(self, codec: Codec, seconds: float, size: int) -> None:
        """One frame was converted and encoded, which took `seconds`, into packets of `size` bytes."""
        ...


class ViewerControl(Protocol):
    """What the server may ask of the viewers. Belongs to one event loop."""

    @property
    def count(self) -> int:
        """Viewers that got an answer and have not been removed."""
        ...

    def start(self) -> None:
        """Begin to admit viewers. Needs a running event loop."""

    async def offer(self, sdp: str, address: str) -> tuple[str, str]:
        """Admit a viewer; its id and the SDP answer. Raises RequestError 400, 413, or 503 when a limit is reached.

        address: the client's, for the limit on viewers per address.
        """
        ...

    async def close(self, viewer_id: str) -> bool:
        """Remove a viewer; False when there is none with this id."""
        ...

    async def close_all(self) -> None:
        """Remove all viewers, for good."""


class StreamControl(Protocol):
    """What the server may ask of a running stream. Every method is thread-safe and does not block."""

    def update_prompt(self, update: PromptUpdate) -> PromptReceipt:
        """Accept an update. Raises RequestError."""
        ...

    def end_updates(self) -> None:
        """Report every update that is not visible yet as failed, and accept no other: the stream is about to end."""

    def control(self, command: Control) -> None:
        """Raises RequestError."""

    def set_strength(self, strength: float) -> None:
        """Let chunks leave their input this far, from the next one on. Raises RequestError."""
        ...

    def set_timeline(self, entries: Sequence[TimelineEntry], relative: bool) -> int:
        """Replace what is planned, and return the chunk that the entries count from. Raises RequestError.

        relative: chunk 0 is the next one that can still be planned.
        """
        ...

    def timeline(self) -> list[TimelineEntry]:
        """The entries that are still to come."""
        ...

    def recording(self) -> list[TimelineEntry]:
        """The run so far, as a timeline that gives the same latents again."""
        ...

    def history(self) -> list[PromptUpdate]:
        """What was shown, the newest first, in the runs that this one continues, too."""
        ...

    def state(self) -> dict[str, Any]:
        """Configuration, prompt, seed, paused, epoch, chunk, figures and ranks, ready for JSON."""
        ...

    def prompt_guide(self) -> PromptGuide:
        """What the model understands."""
        ...

    def alive(self) -> bool:
        """False while the process itself hangs."""
        ...

    def ready(self) -> bool:
        """True while chunks are being decoded, or the stream is paused: the newest is within the chunk deadline."""
        ...
