"""Writes one clip: a thread that encodes frames into a file until a limit is reached or it is stopped."""

import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pp1_orchestrator.errors import Stage0Error, named_line
from pp1_orchestrator.media.frames import Frame
from pp1_orchestrator.media.media_settings import CLOCK_RATE, TIME_BASE, VideoSettings
from pp1_orchestrator.media.mp4 import Mp4File
from pp1_orchestrator.types import Clip

log = logging.getLogger(__name__)
FRAMES_QUEUED = 32
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class ClipLimits:
    """Length and size of a clip, how many clips are kept, and how long finishing a file may take."""

    seconds: float
    bytes: int
    kept: int
    finish_s: float = 30.0


class ClipWriter:
    """`add` may be called from one thread, everything else from any.

    on_change: called on the writer's thread with the clip when it begins and when it has ended.
    """

    def __init__(
        self, clip_id: str, path: Path, video: VideoSettings, limits: ClipLimits, on_change: Callable[[Clip], None]
    ) -> None:
        self.path = path
        self._clip_id, self._video, self._limits, self._on_change = clip_id, video, limits, on_change
        self._queue: queue.Queue[tuple[Frame, float]] = queue.Queue(FRAMES_QUEUED)
        self._stop = threading.Event()
        self._stop_reason = "asked"
        self._state: Literal["recording", "ready", "failed"] = "recording"
        self._ended: str | None = None
        self._frames = self._bytes = self._ticks = 0
        self._frame_ticks = round(CLOCK_RATE / video.fps)
        self._thread = threading.Thread(target=self._run, name="clip", daemon=True)
        self._thread.start()

    def add(self, frame: Frame, at_s: float) -> bool:
        """Queue a frame that is shown at at_s, in monotonic seconds. False where it is dropped: the file is behind."""
        if self._stop.is_set():
            return True
        try:
            self._queue.put_nowait((frame, at_s))
        except queue.Full:
            return False
        return True

    def stop(self, reason: str) -> None:
        """Finish the file and wait until it can be read, at most `limits.finish_s`."""
        self._stop_reason = reason
        self._stop.set()
        self._thread.join(self._limits.finish_s)
        if self._thread.is_alive():
            log.warning("clip %s is not finished after %g s; is its disk there?", self._clip_id, self._limits.finish_s)

    def discard(self) -> None:
        """Delete the file."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("a clip's file could not be deleted: %s", error)

    def clip(self) -> Clip:
        seconds = round((self._ticks + (self._frames > 0) * self._frame_ticks) / CLOCK_RATE, 3)
        state, ended = self._state, self._ended
        return Clip(id=self._clip_id, state=state, ended=ended, seconds=seconds, frames=self._frames, bytes=self._bytes)

    def _run(self) -> None:
        self._on_change(self.clip())
        video = self._video
        try:
            with Mp4File(self.path, video.fps, video.height, video.width, TIME_BASE) as file:
                ended = self._record(file)
                self._drop_queued()  # closing a long file takes a while
            if not self._frames:
                raise Stage0Error("nothing was shown")
            self._bytes = self.path.stat().st_size
            self._state, self._ended = "ready", ended
        except Exception as error:  # the thread's boundary: the clip reports the error, the stream continues
            log.exception("a clip could not be recorded")
            self._state, self._ended = "failed", named_line(error)
            self.discard()
        finally:
            self._drop_queued()  # after a failure, and what was added at the very end
        self._on_change(self.clip())

    def _drop_queued(self) -> None:
        """Take no more frames and release the queued ones: each keeps its whole chunk in memory."""
        self._stop.set()
        with contextlib.suppress(queue.Empty):
            while True:
                self._queue.get_nowait()

    def _record(self, file: Mp4File) -> str:
        """Write frames until there is a reason to end, and return it."""
        start_s = None
        while (item := self._next()) is not None:
            frame, at_s = item
            start_s = at_s if start_s is None else start_s
            ticks = max(round((at_s - start_s) * CLOCK_RATE), self._ticks + (self._frames > 0))
            if ticks + self._frame_ticks > self._limits.seconds * CLOCK_RATE and self._frames:
                return "length"
            file.write(frame, ticks)
            self._ticks = ticks
            self._frames, self._bytes = self._frames + 1, file.bytes
            if file.bytes >= self._limits.bytes:
                return "size"
        return self._stop_reason

    def _next(self) -> tuple[Frame, float] | None:
        """The next frame; None once the writer was stopped and the queue is empty."""
        while True:
            try:
                return self._queue.get(timeout=POLL_S)
            except queue.Empty:
                if self._stop.is_set():
                    return None
