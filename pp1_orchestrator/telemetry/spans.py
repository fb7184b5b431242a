"""Spans and flow points of one rank, kept in a bounded ring while the stream runs, written as one part file at its end.

All ranks of a host share CLOCK_MONOTONIC (`time.monotonic_ns`), so parts need no alignment. What a trace looks like is
`trace.py`'s business. Knows nothing of torch, processes or the stream.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import msgspec

Scalar = int | float | str
Item = TypeVar("Item")

DEFAULT_LIMIT = 4_000
"""Newest spans, and arrows: those of some 300 chunks on rank 0. A show of days must not hold all of its spans."""
PENDING_LIMIT = 256
"""Spans of a device whose ends it has not come to yet."""
DEVICE_PREFIX = "gpu "
PART_SUFFIX = ".part.json"


class Span(msgspec.Struct, frozen=True):
    """Something that took time. `ids` say what for: chunk, call_id, epoch."""

    phase: str
    start_ns: int
    end_ns: int
    ids: dict[str, Scalar]


class FlowPoint(msgspec.Struct, frozen=True):
    """One end of an arrow between ranks. Both ends have the same kind and call_id.

    It lies in a span of `phase`; None: in the rank's last span before it (out) or its next one (in).
    """

    kind: str
    call_id: int
    end: Literal["out", "in"]
    phase: str | None
    at_ns: int


class TracePart(msgspec.Struct, frozen=True):
    """What one process recorded. dropped: spans and flow points that the ring no longer held."""

    rank: int
    spans: list[Span]
    flows: list[FlowPoint]
    dropped: int


class DeviceClock(Protocol):
    """Times what a device does later than it is told to. Asking it never waits for the device."""

    def mark(self) -> Any:
        """The point that the calling thread's work for the device has come to."""
        ...

    def reached(self, mark: Any) -> bool:
        """Whether the device has come to it, too."""
        ...

    def ns(self, mark: Any) -> int:
        """When it did, on the monotonic clock."""
        ...


class _Pending(NamedTuple):
    """A span of a device that may not be over yet."""

    phase: str
    ids: dict[str, Scalar]
    start: Any
    end: Any


class SpanRecorder:
    """Records one rank's spans and flow points. Thread-safe; each list keeps its newest `limit` entries.

    clock: of the device that the rank computes on, where that is another one than the host's.
    """

    def __init__(self, rank: int, limit: int = DEFAULT_LIMIT, clock: DeviceClock | None = None) -> None:
        if limit < 1:
            raise ValueError(f"limit={limit}: a span recorder keeps at least 1 span")
        self.rank = rank
        self._spans: deque[Span] = deque(maxlen=limit)
        self._flows: deque[FlowPoint] = deque(maxlen=limit)
        self._lock = threading.Lock()
        self._dropped = 0
        self._open = _OpenPhases()
        self._clock = clock
        self._pending: deque[_Pending] = deque(maxlen=PENDING_LIMIT)
        self._device_lock = threading.Lock()
        """Guards `_pending` and the clock. Taken before `_lock`."""

    def span(self, phase: str, **ids: Scalar) -> AbstractContextManager[None]:
        """Context manager: one span from entering to leaving, also when the body raises."""
        return _OpenSpan(self, phase, ids)

    @contextlib.contextmanager
    def on_device(self, phase: str, **ids: Scalar) -> Iterator[None]:
        """A further span, of what the device does for the body; it is added when the device is done with it."""
        if self._clock is None:
            yield
            return
        start = self._clock.mark()
        yield
        end = self._clock.mark()
        with self._device_lock:
            self._pending.append(_Pending(phase, ids, start, end))
        self._add_reached(self._clock)

    def add(self, phase: str, start_ns: int, end_ns: int, **ids: Scalar) -> None:
        """A span that is already over, in `time.monotonic_ns` nanoseconds."""
        self._keep(self._spans, Span(phase, start_ns, max(start_ns, end_ns), ids))

    def flow_out(self, kind: str, call_id: int, *, phase: str | None = None, at_ns: int | None = None) -> None:
        """An arrow leaves here, now, from the span that is open in this thread (or from `phase` at `at_ns`).

        Where no span is open, it leaves from the rank's last one, and arrives at its next one.
        """
        self._flow("out", kind, call_id, phase, at_ns)

    def flow_in(self, kind: str, call_id: int, *, phase: str | None = None, at_ns: int | None = None) -> None:
        """The arrow of the same kind and call_id arrives here; see `flow_out`."""
        self._flow("in", kind, call_id, phase, at_ns)

    def part(self) -> TracePart:
        """A copy of what is kept."""
        if self._clock is not None:
            self._add_reached(self._clock)
        with self._lock:
            return TracePart(self.rank, list(self._spans), list(self._flows), self._dropped)

    def write_part(self, folder: Path) -> None:
        """Write this process's part into `folder`. The file appears whole or not at all."""
        path = folder / f"trace-rank{self.rank}-{os.getpid()}{PART_SUFFIX}"
        unfinished = path.with_suffix(".tmp")
        unfinished.write_bytes(msgspec.json.encode(self.part()))
        unfinished.replace(path)

    def _flow(self, end: Literal["out", "in"], kind: str, call_id: int, phase: str | None, at_ns: int | None) -> None:
        at_ns = time.monotonic_ns() if at_ns is None else at_ns
        self._keep(self._flows, FlowPoint(kind, call_id, end, phase or self._open.innermost(), at_ns))

    def _add_reached(self, clock: DeviceClock) -> None:
        """A device reaches the ends in their order."""
        with self._device_lock:
            while self._pending and clock.reached(self._pending[0].end):
                done = self._pending.popleft()
                self.add(f"{DEVICE_PREFIX}{done.phase}", clock.ns(done.start), clock.ns(done.end), **done.ids)

    def _keep(self, ring: deque[Item], item: Item) -> None:
        with self._lock:
            self._dropped += len(ring) == ring.maxlen
            ring.append(item)


class NullSpanRecorder(SpanRecorder):
    """Records nothing, at no cost."""

    def span(self, phase: str, **ids: Scalar) -> AbstractContextManager[None]:
        return contextlib.nullcontext()

    def add(self, phase: str, start_ns: int, end_ns: int, **ids: Scalar) -> None:
        return None

    def write_part(self, folder: Path) -> None:
        return None

    def _flow(self, end: Literal["out", "in"], kind: str, call_id: int, phase: str | None, at_ns: int | None) -> None:
        return None


class _OpenPhases(threading.local):
    """The phases that this thread is in, outermost first."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def innermost(self) -> str | None:
        return self.names[-1] if self.names else None


class _OpenSpan:
    """A span between its two ends."""

    __slots__ = ("_ids", "_phase", "_recorder", "_start_ns")

    def __init__(self, recorder: SpanRecorder, phase: str, ids: dict[str, Scalar]) -> None:
        self._recorder, self._phase, self._ids, self._start_ns = recorder, phase, ids, 0

    def __enter__(self) -> None:
        self._recorder._open.names.append(self._phase)
        self._start_ns = time.monotonic_ns()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._recorder.add(self._phase, self._start_ns, time.monotonic_ns(), **self._ids)
        self._recorder._open.names.pop()
