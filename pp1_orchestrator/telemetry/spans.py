"""Spans and flow points of one rank: kept in a bounded ring during the run, written as one part file at its end.

All ranks of a host share CLOCK_MONOTONIC (`time.monotonic_ns`), so parts need no alignment. Knows nothing of torch,
processes, or the format of a trace.
"""

import contextlib
import logging
import os
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec

log = logging.getLogger(__name__)
Scalar = int | float | str
Item = TypeVar("Item")

DEFAULT_LIMIT = 4_000
"""Newest spans, and newest flow points: of some 300 chunks on rank 0. A run may last for days."""
PENDING_LIMIT = 256
"""Device spans still running."""
DEVICE_PREFIX = "gpu "
PART_SUFFIX = ".part.json"


class Span(msgspec.Struct, frozen=True):
    """A phase of work. ids: chunk, call_id, epoch."""

    phase: str
    start_ns: int
    end_ns: int
    ids: dict[str, Scalar]


class FlowPoint(msgspec.Struct, frozen=True):
    """One end of an arrow between ranks. The other end has the same kind and call_id.

    It lies in a span of `phase`. None: in the rank's last span before it (out) or its next one (in).
    """

    kind: str
    call_id: int
    end: Literal["out", "in"]
    phase: str | None
    at_ns: int


class TracePart(msgspec.Struct, frozen=True):
    """What one process recorded. dropped: number of spans and flow points that the ring lost."""

    rank: int
    spans: list[Span]
    flows: list[FlowPoint]
    dropped: int


class DeviceClock(ABC):
    """The times at which a device reaches points in its queue of work. No method waits for the device."""

    @abstractmethod
    def mark(self) -> Any:
        """A mark after the work that the calling thread has queued so far."""

    @abstractmethod
    def reached(self, mark: Any) -> bool:
        """Whether the device has reached the mark."""

    @abstractmethod
    def ns(self, mark: Any) -> int:
        """When the device reached it, on the monotonic clock."""


class _Pending(NamedTuple):
    """A device span that may still be running."""

    phase: str
    ids: dict[str, Scalar]
    start: Any
    end: Any


class SpanRecorder:
    """Records one rank's spans and flow points. Thread-safe; each list keeps its newest `limit` entries.

    clock: of the device that the rank computes on; None for the host.
    """

    def __init__(self, rank: int, limit: int = DEFAULT_LIMIT, clock: DeviceClock | None = None) -> None:
        self.rank = rank
        self._spans: deque[Span] = deque(maxlen=limit)
        self._flows: deque[FlowPoint] = deque(maxlen=limit)
        self._lock = threading.Lock()
        self._dropped = 0
        self._open = _OpenPhases()
        self._clock = clock
        self._pending: deque[_Pending] = deque(maxlen=PENDING_LIMIT)
        self._device_lock = threading.Lock()
        """Guards `_pending` and `_clock`. Taken before `_lock`."""

    @contextlib.contextmanager
    def span(self, phase: str, **ids: Scalar) -> Generator[None]:
        """Context manager that records one span, also when the body raises."""
        self._open.phases.append(phase)
        start_ns = time.monotonic_ns()
        try:
            yield
        finally:
            self.add(phase, start_ns, time.monotonic_ns(), **ids)
            self._open.phases.pop()

    @contextlib.contextmanager
    def on_device(self, phase: str, **ids: Scalar) -> Generator[None]:
        """Context manager that also records the body's work on the device, once the device has finished it."""
        if self._clock is None:
            yield
            return
        start = self._clock.mark()
        yield
        end = self._clock.mark()
        with self._device_lock:
            self._pending.append(_Pending(phase, ids, start, end))
        self._add_reached()

    def add(self, phase: str, start_ns: int, end_ns: int, **ids: Scalar) -> None:
        """Record a span that has ended; `time.monotonic_ns` nanoseconds."""
        self._keep(self._spans, Span(phase, start_ns, max(start_ns, end_ns), ids))

    def flow(
        self, end: Literal["out", "in"], kind: str, call_id: int, *, phase: str | None = None, at_ns: int | None = None
    ) -> None:
        """Record that an arrow starts or ends here and now, in the thread's open span, or in `phase` at `at_ns`.

        Where no span is open, it starts in the rank's last one and ends in the next one.
        """
        at_ns = time.monotonic_ns() if at_ns is None else at_ns
        phase = phase or next(reversed(self._open.phases), None)
        self._keep(self._flows, FlowPoint(kind, call_id, end, phase, at_ns))

    def snapshot(self) -> TracePart:
        """A copy of what is kept now."""
        self._add_reached()
        with self._lock:
            return TracePart(self.rank, list(self._spans), list(self._flows), self._dropped)

    def write_part(self, folder: Path) -> None:
        """Write this process's part into `folder`, whole or not at all. If the disk is full the run goes on without."""
        path = folder / f"trace-rank{self.rank}-{os.getpid()}{PART_SUFFIX}"
        unfinished = path.with_suffix(".tmp")
        try:
            unfinished.write_bytes(msgspec.json.encode(self.snapshot()))
            unfinished.replace(path)
        except OSError as error:
            log.warning("a part of the trace can't be written: %s", error)

    def _add_reached(self) -> None:
        """A device reaches the ends in their order."""
        with self._device_lock:
            while self._clock and self._pending and self._clock.reached(self._pending[0].end):
                phase, ids, start, end = self._pending.popleft()
                self.add(f"{DEVICE_PREFIX}{phase}", self._clock.ns(start), self._clock.ns(end), **ids)

    def _keep(self, ring: deque[Item], item: Item) -> None:
        with self._lock:
            self._dropped += len(ring) == ring.maxlen
            ring.append(item)


class NullSpanRecorder(SpanRecorder):
    """Records nothing."""

    @contextlib.contextmanager
    def span(self, phase: str, **ids: Scalar) -> Generator[None]:
        yield

    def write_part(self, folder: Path) -> None:
        return None

    def _keep(self, ring: deque[Item], item: Item) -> None:
        return None


class _OpenPhases(threading.local):
    """The phases of this thread's open spans, outermost first."""

    def __init__(self) -> None:
        self.phases: list[str] = []
