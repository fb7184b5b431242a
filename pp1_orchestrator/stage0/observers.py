"""Observers of chunks: metrics, the recording, digests. None of them decides anything."""

import hashlib
import threading
from collections import deque

import msgspec
from torch import Tensor

from pp1_orchestrator.contract.envelope import pixel_frames
from pp1_orchestrator.stage0.failures import FAILED, RESTART
from pp1_orchestrator.stage0.in_flight_chunk import InFlightChunk
from pp1_orchestrator.telemetry.metrics import Metrics
from pp1_orchestrator.telemetry.records import ChunkLog
from pp1_orchestrator.types import DecodedChunk, PromptUpdate, TimelineEntry

KEPT_ENTRIES = 10_000


class BaseObserver:
    """Notified of every chunk, in order, by one thread at a time. Subclasses override what they need.

    `planned` may be called while another chunk is being decoded.
    """

    def planned(self, chunk: InFlightChunk) -> None:
        """The chunk's envelope is ready to be sent."""

    def dropped(self, chunk: InFlightChunk) -> None:
        """The chunk will not be shown."""

    def emitted(self, chunk: InFlightChunk, latents: Tensor, decoded: DecodedChunk) -> None:
        """The chunk is about to go to the sink. latents: [1, F, z, h, w]."""

    def epoch_changed(self, epoch: int, reason: str) -> None:
        """A new epoch has begun."""


class Telemetry(BaseObserver):
    """Feeds the metrics and the chunk log."""

    def __init__(self, metrics: Metrics, chunk_log: ChunkLog) -> None:
        self._metrics, self._log = metrics, chunk_log

    def dropped(self, chunk: InFlightChunk) -> None:
        frames = pixel_frames(chunk.plan.latents_shape[1], not chunk.plan.current_start_frame)
        self._metrics.frames_dropped(chunk.drop_reason, frames)

    def emitted(self, chunk: InFlightChunk, latents: Tensor, decoded: DecodedChunk) -> None:
        self._metrics.observe_chunk(chunk.record)
        self._log.add(chunk.record)


class Digests(BaseObserver):
    """SHA-256 over all pixels and all latents of a run. Costs a copy to the host per chunk."""

    def __init__(self) -> None:
        self.pixels, self.latents = hashlib.sha256(), hashlib.sha256()

    def emitted(self, chunk: InFlightChunk, latents: Tensor, decoded: DecodedChunk) -> None:
        self.pixels.update(decoded.frames.numpy().data)
        self.latents.update(latents.cpu().contiguous().numpy().data)


class Recording(BaseObserver):
    """What a run did, as a timeline: the same entries and chunk count give the same latents again.

    Bounded: a very long run loses its oldest entries, and is then no longer `complete`.
    """

    def __init__(self) -> None:
        self._entries: deque[TimelineEntry] = deque(maxlen=KEPT_ENTRIES)
        self._lock = threading.Lock()
        self._seed: int | None = None
        self._strength: float | None = None
        self._epoch = 0
        self._dropped = 0
        self._newest = PromptUpdate()
        self._restarted = False
        self.complete = True
        self.chunks = 0
        """Chunks planned so far."""

    def entries(self) -> list[TimelineEntry]:
        with self._lock:
            return list(self._entries)

    def planned(self, chunk: InFlightChunk) -> None:
        plan, epoch = chunk.plan, chunk.record.cache_epoch
        self.chunks = plan.chunk_index + 1
        update = self._shown_from(chunk)
        seed = plan.base_seed if plan.base_seed != self._seed else None
        cut = "hard" if epoch != self._epoch else "recache" if update.cut == "recache" else "soft"
        strength = chunk.strength if chunk.strength != self._strength else None
        self._seed, self._epoch, self._strength = plan.base_seed, epoch, chunk.strength
        if not update.has_prompt and seed is None and strength is None and cut == "soft":
            return
        fields = {name: getattr(update, name) for name in PromptUpdate.__struct_fields__ if name != "cut"}
        with self._lock:
            dropped, self._dropped = (self._dropped, 0) if cut == "hard" else (0, self._dropped)
            entry = TimelineEntry(
                chunk=plan.chunk_index, seed=seed, strength=strength, cut=cut, dropped=dropped, **fields
            )
            self.complete &= len(self._entries) < KEPT_ENTRIES
            self._entries.append(entry)

    def dropped(self, chunk: InFlightChunk) -> None:
        """Count it at the newest hard cut after it, which may be still to come."""
        with self._lock:
            for index in range(len(self._entries) - 1, -1, -1):
                entry = self._entries[index]
                if entry.cut == "hard" and entry.chunk > chunk.index:
                    self._entries[index] = msgspec.structs.replace(entry, dropped=entry.dropped + 1)
                    return
            self._dropped += 1

    def epoch_changed(self, epoch: int, reason: str) -> None:
        self._restarted = reason in (RESTART, FAILED)

    def _shown_from(self, chunk: InFlightChunk) -> PromptUpdate:
        """The update that a chunk is the first to show. After a restart it is the newest one, at its target."""
        restarted, self._restarted = self._restarted, False
        self._newest = chunk.requested or self._newest
        if restarted:
            self._newest = msgspec.structs.replace(self._newest, transition=None)
            return self._newest
        return chunk.requested or PromptUpdate()
