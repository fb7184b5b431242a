"""When each frame is due. Pure arithmetic on monotonic seconds: no thread, no sleep.

Shows decoded chunks at the stream's frame rate, at most one chunk behind what is generated.

A thread of its own and a monotonic clock. Knows nothing of codecs or viewers: each due picture goes to one `Screen`.

Several screens that show the same pictures.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pp1_orchestrator.errors import Stage0Error
from pp1_orchestrator.media.frames import Picture, as_arrays
from pp1_orchestrator.media.media_settings import MediaFigures
from pp1_orchestrator.types import DecodedChunk


class FrameClock:
    """Frames one period apart; a late start moves the schedule instead of being caught up.

    However late a caller is, at most two frames are due at one moment.
    """

    def __init__(self, fps: float) -> None:
        self.period_s = 1.0 / fps
        self._due_s: float | None = None

    def due(self, now_s: float) -> float:
        """When the next frame goes out; never longer ago than one period."""
        if self._due_s is None:
            self._due_s = now_s
        self._due_s = max(self._due_s, now_s - self.period_s)
        return self._due_s

    def advance(self) -> None:
        """The due frame went out."""
        if self._due_s is not None:
            self._due_s += self.period_s

    def resume(self, now_s: float) -> None:
        """Frames come after there were none. If the next one was due before now, the schedule starts anew."""
        if self._due_s is not None and self._due_s < now_s:
            self._due_s = None


log = logging.getLogger(__name__)

MAX_CHUNKS = 3
"""Chunks kept when the producer does not ask for room; the oldest goes first."""
REPEAT_S = 0.5
"""While there is nothing new the last picture goes out again this often, so that a new viewer sees one."""
JOIN_S = 5.0
LEAD_MARGIN = 1.2
"""A chunk is begun this much earlier than it took lately to make one."""


class FrameConsumer(Protocol):
    """Where pictures go, in order, on the pacer's thread."""

    def present(self, picture: Picture, at_s: float) -> None:
        """picture: not to be written to; at_s: monotonic seconds, growing."""
        ...


@dataclass(frozen=True, slots=True)
class _Frame:
    picture: Picture
    chunk: DecodedChunk
    first: bool


class PacedSink:
    """A FrameSink that shows frames in real time.

    There is room for a chunk as soon as the newest one has begun to show; earlier when making one takes longer than
    showing one, so that a slow producer can work without a break. `first` is shown until the first chunk comes.

    on_shown: called from the pacer's thread when a chunk's first frame goes out, with monotonic seconds.
    """

    def __init__(
        self,
        screen: FrameConsumer,
        fps: float,
        first: Picture,
        figures: MediaFigures,
        on_shown: Callable[[DecodedChunk, float], None] | None = None,
    ) -> None:
        self._screen, self._figures, self._on_shown = screen, figures, on_shown
        self._clock = FrameClock(fps)
        self._fps = fps
        self._frames: deque[_Frame] = deque()
        self._newest_frames = 1
        self._changed = threading.Condition()
        self._closed = False
        self._failure: Exception | None = None
        self._last = first
        self._last_at_s = -REPEAT_S
        self._thread = threading.Thread(target=self._run, name="pacer", daemon=True)
        self._thread.start()

    def put(self, chunk: DecodedChunk) -> None:
        """Queue a chunk. Raises Stage0Error when the pacer's thread has failed."""
        arrays = as_arrays(chunk.frames)
        with self._changed:
            if self._failure is not None:
                raise Stage0Error(f"frames can't be shown: {self._failure}") from self._failure
            if not self._frames:
                self._clock.resume(time.monotonic())
            self._frames.extend(_Frame(picture, chunk, first=i == 0) for i, picture in enumerate(arrays))
            self._newest_frames = len(arrays)
            self._drop_oldest()
            self._figures.queue_depth("frames", len(self._frames))
            self._changed.notify_all()

    def wait_for_room(self, timeout_s: float, coming: int = 0, lead_s: float = 0.0) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._has_room(coming, lead_s), timeout_s)

    def flush(self) -> None:
        with self._changed:
            self._figures.frames_dropped("cut", len(self._frames))
            self._frames.clear()
            self._figures.queue_depth("frames", 0)
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(JOIN_S)

    def _has_room(self, coming: int, lead_s: float) -> bool:
        waiting = len(self._frames) + coming * self._newest_frames
        allowed = max(self._newest_frames - 1, LEAD_MARGIN * lead_s * self._fps)
        return self._closed or self._failure is not None or waiting <= allowed

    def _drop_oldest(self) -> None:
        while sum(frame.first for frame in self._frames) > MAX_CHUNKS:
            oldest = self._frames[0].chunk
            while self._frames[0].chunk is oldest:
                self._frames.popleft()
                self._figures.frames_dropped("late")

    def _run(self) -> None:
        try:
            while self._show_next():
                pass
        except Exception as error:  # the thread's boundary: the producer is told with its next chunk
            log.exception("the pacer has failed")
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _show_next(self) -> bool:
        """Wait for a picture to be due and show it; False when closed."""
        with self._changed:
            frame, at_s = self._take_due()
            if self._closed:
                return False
        self._last_at_s = at_s
        if frame is None:
            self._screen.present(self._last, at_s)
            return True
        self._last = frame.picture
        self._screen.present(frame.picture, at_s)
        if frame.first and self._on_shown is not None:
            self._on_shown(frame.chunk, time.monotonic())
        return True

    def _take_due(self) -> tuple[_Frame | None, float]:
        """The due frame, or None to repeat the last one. Holds the lock except while it waits."""
        while not self._closed:
            now = time.monotonic()
            due = self._clock.due(now) if self._frames else self._last_at_s + REPEAT_S
            if due > now:
                self._changed.wait(due - now)
                continue
            if not self._frames:
                return None, now
            frame = self._frames.popleft()
            self._clock.advance()
            self._figures.queue_depth("frames", len(self._frames))
            self._changed.notify_all()
            return frame, due
        return None, 0.0


class Screens:
    """A Screen that hands each picture to all of its screens, in order."""

    def __init__(self, *screens: FrameConsumer) -> None:
        self._screens = screens

    def present(self, picture: Picture, at_s: float) -> None:
        for screen in self._screens:
            screen.present(picture, at_s)
