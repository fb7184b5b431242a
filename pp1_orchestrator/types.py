"""The seams between the parts: what stage 0 hands to media, server and measuring, and what it takes from them.

Knows nothing of processes, HTTP, codecs or configuration files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import msgspec
import torch

MAX_PROMPTS = 8
MAX_PROMPT_CHARS = 2000
MAX_TRANSITION_STEPS = 1000
MAX_SEED = 2**31 - 1


@dataclass(frozen=True, slots=True)
class DecodedChunk:
    """Pixels of one chunk, as stage 0 decoded them.

    frames: uint8 [T, H, W, 3] RGB or [T, 3·H/2, W] yuv420p planes, contiguous, on the CPU; nobody writes to it.
    update_ids: prompt updates whose first pixels these are.
    decoded_at_s: monotonic seconds.
    """

    chunk_index: int
    cache_epoch: int
    frames: torch.Tensor
    update_ids: tuple[str, ...]
    decoded_at_s: float


class FrameSink(Protocol):
    """Takes decoded chunks. `put` is called by stage 0's thread and must not block for long."""

    def put(self, chunk: DecodedChunk) -> None: ...

    def wait_for_room(self, timeout_s: float, coming: int = 0, lead_s: float = 0.0) -> bool:
        """True as soon as another chunk should be begun: not more than one chunk ahead of what is shown, and not later
        than it takes to make one.

        coming: chunks that are being made and will be put first; lead_s: how long one takes from plan to pixels.
        """
        ...

    def flush(self) -> None:
        """Forget what has not been shown (a hard cut)."""
        ...

    def close(self) -> None: ...


class WeightedPrompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One prompt of a blend."""

    text: str
    weight: float = 1.0


class Transition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Over how many chunks a new conditioning is reached, and along which path. 0 and 1 both mean at once."""

    steps: int = 0
    method: Literal["linear", "slerp"] = "linear"


Cut = Literal["soft", "hard", "recache"]
"""soft: history goes on as it is; hard: it is forgotten; recache: it is read once more under the new prompt."""


class PromptUpdate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One change of what the stream shows. Either `prompt` or `prompts`."""

    prompt: str | None = None
    prompts: tuple[WeightedPrompt, ...] = ()
    blend: Literal["linear", "slerp"] = "linear"
    transition: Transition | None = None
    cut: Cut = "soft"

    @property
    def has_prompt(self) -> bool:
        return self.prompt is not None or bool(self.prompts)


class TimelineEntry(PromptUpdate, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A change at a certain chunk: an update, a seed, a hard cut, or several of them at once.

    dropped: how many chunks before it a live run made and threw away; a replay does the same.
    """

    chunk: int
    seed: int | None = None
    dropped: int = 0


class Control(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One command to the running stream. `seed` needs `value`."""

    action: Literal["pause", "resume", "hard_cut", "seed"]
    value: int | None = None


class Clip(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What viewers saw, as an MP4 file. It can be had as soon as it is ready.

    ended: why nothing is added any more: asked, length or size (its limits), stopped (the program), or what went wrong.
    """

    id: str
    state: Literal["recording", "ready", "failed"]
    seconds: float
    frames: int
    bytes: int
    ended: str | None


class PromptReceipt(msgspec.Struct, frozen=True):
    """An update that was taken. truncated: the text encoder reads only the beginning of a prompt in it."""

    id: str
    truncated: bool = False


class StreamControl(Protocol):
    """What the server may ask of a running stream. Every method is thread-safe and returns at once."""

    def update_prompt(self, update: PromptUpdate) -> PromptReceipt:
        """Accept an update. Raises RequestError."""
        ...

    def control(self, command: Control) -> None:
        """Raises RequestError."""
        ...

    def set_timeline(self, entries: Sequence[TimelineEntry], relative: bool) -> int:
        """Replace what is planned for chunks to come; relative: chunk 0 is the next one that can still be planned.

        Returns the chunk that the entries count from. Raises RequestError.
        """
        ...

    def timeline(self) -> list[TimelineEntry]:
        """What is planned for chunks to come."""
        ...

    def recording(self) -> list[TimelineEntry]:
        """What has happened so far, as a timeline that gives the same latents again."""
        ...

    def state(self) -> dict[str, Any]:
        """Configuration, prompt, seed, paused, epoch, chunk, figures and ranks, ready for JSON."""
        ...

    def alive(self) -> bool:
        """False while something that the process itself does takes far too long: it hangs."""
        ...

    def ready(self) -> bool:
        """True only while chunks are being decoded: the newest one is younger than the chunk deadline, or the
        stream is paused on purpose."""
        ...
