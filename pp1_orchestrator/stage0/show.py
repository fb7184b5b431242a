"""A show: what a stream shows and what is planned, as far as another run needs it to continue. `show_file` keeps it."""

import threading
from collections.abc import Collection, Iterable
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from torch import Tensor

from pp1_orchestrator.stage0.in_flight_chunk import InFlightChunk
from pp1_orchestrator.stage0.observers import BaseObserver
from pp1_orchestrator.stage0.timeline import Script, Timeline
from pp1_orchestrator.stage0.validation import check_live_entries, check_seed, parse_update
from pp1_orchestrator.types import DecodedChunk, KnownClient, PromptUpdate, TimelineEntry

HISTORY_KEPT = 20


class Show(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """The state of a show between two chunks. A transition that was running is at its end."""

    update: PromptUpdate
    """What is shown."""
    seed: int
    timeline: tuple[TimelineEntry, ...] = ()
    """What is planned. Chunk 0 is the next one."""
    history: Annotated[tuple[PromptUpdate, ...], Meta(max_length=HISTORY_KEPT)] = ()
    """What was shown, the newest first."""
    clients: Annotated[tuple[KnownClient, ...], Meta(max_length=100)] = ()
    """The holder of the control lease, then those that wait."""

    def check(self) -> None:
        """Raises RequestError for what no stream can show."""
        for update in (self.update, *self.history):
            parse_update(update)
        check_seed(self.seed)
        check_live_entries(self.timeline)

    def script(self, given: Collection[str]) -> Script:
        """A script that continues the show. given: the settings that were set for this run, and win."""
        first = next((entry for entry in self.timeline if entry.chunk == 0), TimelineEntry(chunk=0))
        update = PromptUpdate() if "run.prompt" in given else first if first.has_prompt else self.update
        seed = None if "seed" in given else self.seed if first.seed is None else first.seed
        start = TimelineEntry(chunk=0, seed=seed, **_fields(update))
        return [start, *(entry for entry in self.timeline if entry.chunk)]


class ShowTracker(BaseObserver):
    """Follows the show of a running stream, and its history. Thread-safe.

    It counts chunks that came out: a prompt that ends the mesh is not continued. history: of an earlier run.
    """

    def __init__(self, history: Iterable[PromptUpdate] = ()) -> None:
        self._lock = threading.Lock()
        self._history = list(history)
        self._requested: PromptUpdate | None = None
        """The newest update, until a chunk that shows it comes out."""
        self._update: PromptUpdate | None = None
        self._seed = self._next_chunk = 0

    def dropped(self, chunk: InFlightChunk) -> None:
        with self._lock:
            self._requested = chunk.requested or self._requested

    def emitted(self, chunk: InFlightChunk, latents: Tensor, decoded: DecodedChunk) -> None:
        with self._lock:
            requested, self._requested = chunk.requested or self._requested, None
            self._seed, self._next_chunk = chunk.plan.base_seed, chunk.index + 1
            if requested is not None:
                self._shown(PromptUpdate(**_fields(requested)))

    def history(self) -> list[PromptUpdate]:
        """What was shown, the newest first."""
        with self._lock:
            return list(self._history)

    def show(self, timeline: Timeline) -> Show | None:
        """The show after the newest chunk that came out; None before the first."""
        with self._lock:
            update, seed, first, history = self._update, self._seed, self._next_chunk, tuple(self._history)
        if update is None:
            return None
        planned = tuple(
            msgspec.structs.replace(entry, chunk=entry.chunk - first, dropped=0) for entry in timeline.from_chunk(first)
        )
        return Show(update=update, seed=seed, timeline=planned, history=history)

    def _shown(self, update: PromptUpdate) -> None:
        self._update = _at_target(update)
        if self._history and _at_target(self._history[0]) == update:
            return  # a show that goes on, for one
        others = [other for other in self._history if other != update]
        self._history = [update, *others][:HISTORY_KEPT]


def _at_target(update: PromptUpdate) -> PromptUpdate:
    """What it shows, without the way there."""
    return msgspec.structs.replace(update, transition=None, cut="soft")


def _fields(update: PromptUpdate) -> dict[str, Any]:
    """Those of an update, of a timeline's entry, too."""
    return {name: getattr(update, name) for name in PromptUpdate.__struct_fields__}
