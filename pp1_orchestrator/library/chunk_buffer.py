"""Decoded chunks on their way from the stream's threads to the program that iterates over them.

Bounded: the stream waits while nobody takes chunks. Knows nothing of how a stream is started or stopped.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pp1_orchestrator.stage0.in_flight_chunk import InFlightChunk
from pp1_orchestrator.stage0.observers import BaseObserver
from pp1_orchestrator.stage0.receipts import Receipts
from pp1_orchestrator.telemetry.metrics import Metrics
from pp1_orchestrator.types import DecodedChunk


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Decoded frames, and what they were made with."""

    frames: NDArray[np.uint8]
    """[T, H, W, 3], RGB, the caller's own."""
    index: int
    """Counts all chunks that were planned; those of before a hard cut or of a lost mesh may be missing."""
    epoch: int
    """Grows whenever the history was dropped."""
    first_frame: int
    """How many frames were taken before these."""
    seed: int
    updates: tuple[str, ...]
    """Ids of the prompt updates whose first pixels these are."""
    phases_ms: Mapping[str, float]
    """How long each phase took: build, send, mesh, recv, decode, and text if a prompt was encoded."""
    decoded_at_s: float
    """Monotonic seconds."""


class ChunkBuffer(BaseObserver):
    """A FrameSink that keeps chunks until they are taken. Chunks are put by one thread at a time, and taken by any.

    ahead: a chunk is begun while at most so many are waiting or being made.
    """

    def __init__(self, ahead: int, receipts: Receipts, metrics: Metrics) -> None:
        self._ahead, self._receipts, self._metrics = ahead, receipts, metrics
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Chunk, DecodedChunk]] = deque()
        self._newest: InFlightChunk | None = None
        self._frames_taken = 0
        self._ended = False
        self._failure: Exception | None = None
        self._wakers: list[Callable[[], None]] = []
        self._full_since_s: float | None = None
        self.on_full: Callable[[float], None] = lambda _: None
        """Is called with the seconds in which the stream has waited for room, and nothing else: that is no hang."""

    def emitted(self, chunk: InFlightChunk, latents: Tensor, decoded: DecodedChunk) -> None:
        self._newest = chunk  # `put` follows on the same thread

    def put(self, chunk: DecodedChunk) -> None:
        made = self._newest
        assert made is not None
        phases_ms = {name: seconds * 1e3 for name, seconds in made.record.phases_s().items()}
        frames, seed = chunk.frames.numpy(), made.plan.base_seed
        at = chunk.chunk_index, chunk.cache_epoch
        new = Chunk(frames, *at, 0, seed, chunk.update_ids, phases_ms, chunk.decoded_at_s)
        with self._changed:
            if not self._ended:  # nobody will take it then
                self._waiting.append((new, chunk))
                self._wake()

    def wait_for_room(self, timeout_s: float, coming: int = 0, lead_s: float = 0.0) -> bool:
        with self._changed:
            room = self._changed.wait_for(lambda: self._ended or len(self._waiting) + coming <= self._ahead, timeout_s)
        now_s = time.monotonic()
        if self._full_since_s is not None:
            self.on_full(now_s - self._full_since_s)
        self._full_since_s = None if room else now_s
        return room

    def flush(self) -> None:
        """Drop what has not been taken (a hard cut)."""
        with self._changed:
            self._metrics.frames_dropped("cut", sum(len(chunk.frames) for chunk, _ in self._waiting))
            self._waiting.clear()
            self._wake()

    def close(self) -> None:
        """No more chunks come; those that wait can still be taken."""
        self.end(None)

    def end(self, failure: Exception | None) -> None:
        """As `close`; `take` raises `failure` then, if there is one."""
        with self._changed:
            self._ended = True
            self._failure = self._failure or failure
            self._wake()

    def take(self, timeout_s: float | None) -> Chunk | None:
        """The oldest chunk, once there is one; None after the last. Raises TimeoutError, or the stream's failure."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting or self._ended, timeout_s):
                raise TimeoutError(f"no chunk has come within {timeout_s:g} s")
            if not self._waiting:
                if self._failure is not None:
                    raise self._failure
                return None
            chunk, decoded = self._waiting.popleft()
            chunk = replace(chunk, first_frame=self._frames_taken)
            self._frames_taken += len(chunk.frames)
            self._wake()
        self._receipts.shown(decoded, time.monotonic())
        return chunk

    @contextmanager
    def waking(self, call: Callable[[], None]) -> Generator[None]:
        """Inside, `call` is called after each change, on the thread that makes it."""
        with self._changed:
            self._wakers.append(call)
        try:
            yield
        finally:
            with self._changed:
                self._wakers.remove(call)

    def _wake(self) -> None:
        self._changed.notify_all()
        for call in self._wakers:
            call()
