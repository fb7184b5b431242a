"""Shows decoded chunks at the stream's frame rate, at most one chunk behind what is generated.

Owns a thread and a monotonic clock. Knows nothing of codecs or viewers: each due frame goes to all consumers.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pp1_orchestrator.errors import Stage0Error
from pp1_orchestrator.media.frames import Frame, as_arrays
from pp1_orchestrator.telemetry.metrics import Metrics
from pp1_orchestrator.types import DecodedChunk

log = logging.getLogger(__name__)

MAX_CHUNKS = 3
"""Chunks kept when the producer does not wait for room; the oldest is dropped first."""
REPEAT_S = 0.5
"""While there is nothing new the last frame is shown again this often, so that a new viewer sees one."""
JOIN_S = 5.0
LEAD_MARGIN = 1.2
"""A chunk is begun this many times its recent production time before it is needed."""


class FrameConsumer(Protocol):
    """Takes frames in order, on the pacer's thread."""

    def show(self, frame: Frame, at_s: float) -> None:
        """frame: must not be modified. at_s: growing monotonic seconds."""
        ...


class FrameClock:
    """When each frame is due, in monotonic seconds: one period apart. Nothing sleeps here.

    A late start moves the schedule, so that nothing is caught up. However late a caller is, at most two frames are due
    at one moment.
    """

    def __init__(self, fps: float) -> None:
        self.period_s = 1.0 / fps
        self._due_s: float | None = None

    def due(self, now_s: float) -> float:
        """When the next frame is due; never more than one period ago."""
        if self._due_s is None:
            self._due_s = now_s
        self._due_s = max(self._due_s, now_s - self.period_s)
        return self._due_s

    def advance(self) -> None:
        """The due frame was shown."""
        if self._due_s is not None:
            self._due_s += self.period_s

    def resume(self, now_s: float) -> None:
        """Frames come again after a gap. If the next one was due before now, the schedule restarts."""
        if self._due_s is not None and self._due_s < now_s:
            self._due_s = None


@dataclass(frozen=True, slots=True)
class _QueuedFrame:
    frame: Frame
    chunk: DecodedChunk
    first: bool


class PacedSink:
    """A FrameSink that shows frames in real time.

    There is room for a chunk when the newest one has begun to show, and earlier when producing one takes longer than
    showing one: a slow producer then works without a break.

    first: shown until the first chunk comes. on_shown: called on the pacer's thread when a chunk's first frame is
    shown, with monotonic seconds.
    """

    def __init__(
        self,
        consumers: Sequence[FrameConsumer],
        fps: float,
        first: Frame,
        metrics: Metrics,
        on_shown: Callable[[DecodedChunk, float], None] | None = None,
    ) -> None:
        self._consumers, self._metrics, self._on_shown = consumers, metrics, on_shown
        self._clock, self._fps = FrameClock(fps), fps
        self._queue: deque[_QueuedFrame] = deque()
        self._newest_frames = 1
        self._changed = threading.Condition()
        self._closed = False
        self._failure: Exception | None = None
        self._last, self._last_at_s = first, -REPEAT_S
        self._thread = threading.Thread(target=self._run, name="pacer", daemon=True)
        self._thread.start()

    def put(self, chunk: DecodedChunk) -> None:
        """Queue a chunk. Raises Stage0Error when the pacer's thread has failed."""
        frames = as_arrays(chunk.frames)
        with self._changed:
            if self._failure is not None:
                raise Stage0Error(f"frames can't be shown: {self._failure}") from self._failure
            if not self._queue:
                self._clock.resume(time.monotonic())
            self._queue.extend(_QueuedFrame(frame, chunk, first=i == 0) for i, frame in enumerate(frames))
            self._newest_frames = len(frames)
            self._drop_oldest()
            self._queue_changed()

    def wait_for_room(self, timeout_s: float, coming: int = 0, lead_s: float = 0.0) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._has_room(coming, lead_s), timeout_s)

    def flush(self) -> None:
        with self._changed:
            self._metrics.frames_dropped("cut", len(self._queue))
            self._queue.clear()
            self._queue_changed()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(JOIN_S)

    def _queue_changed(self) -> None:
        self._metrics.queue_depth("frames", len(self._queue))
        self._changed.notify_all()

    def _has_room(self, coming: int, lead_s: float) -> bool:
        waiting = len(self._queue) + coming * self._newest_frames
        allowed = max(self._newest_frames - 1, LEAD_MARGIN * lead_s * self._fps)
        return self._closed or self._failure is not None or waiting <= allowed

    def _drop_oldest(self) -> None:
        while sum(queued.first for queued in self._queue) > MAX_CHUNKS:
            oldest = self._queue[0].chunk
            while self._queue[0].chunk is oldest:
                self._queue.popleft()
                self._metrics.frames_dropped("late")

    def _run(self) -> None:
        try:
            while self._show_next():
                pass
        except Exception as error:  # the thread's boundary: it is raised again with the producer's next chunk
            log.exception("the pacer has failed")
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _show_next(self) -> bool:
        """Wait until a frame is due and show it; False when closed."""
        with self._changed:
            queued, at_s = self._take_due()
            if self._closed:
                return False
        self._last_at_s = at_s
        if queued is not None:
            self._last = queued.frame
        for consumer in self._consumers:
            consumer.show(self._last, at_s)
        if queued is not None and queued.first and self._on_shown is not None:
            self._on_shown(queued.chunk, time.monotonic())
        return True

    def _take_due(self) -> tuple[_QueuedFrame | None, float]:
        """The due frame and its time; None to repeat the last frame. Holds the lock except while it waits."""
        while not self._closed:
            now = time.monotonic()
            due = self._clock.due(now) if self._queue else self._last_at_s + REPEAT_S
            if due > now:
                self._changed.wait(due - now)
                continue
            if not self._queue:
                return None, now
            queued = self._queue.popleft()
            self._clock.advance()
            self._queue_changed()
            return queued, due
        return None, 0.0
