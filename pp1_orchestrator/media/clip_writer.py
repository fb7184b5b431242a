"""One clip while it is being recorded: a thread that writes pictures into a file until it is full or told to stop."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pp1_orchestrator.errors import named_line
from pp1_orchestrator.media.frames import Picture
from pp1_orchestrator.media.media_settings import CLOCK_RATE, TIME_BASE, VideoSettings
from pp1_orchestrator.media.mp4 import INDEXED, Mp4File
from pp1_orchestrator.types import Clip

log = logging.getLogger(__name__)
FRAMES_QUEUED = 32
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class ClipLimits:
    """Of one clip, in seconds and bytes; and how many files are kept. finish_s: so long may it take to finish one."""

    seconds: float
    bytes: int
    kept: int
    finish_s: float = 30.0


class ClipWriter:
    """Pictures may come from any one thread; `clip` may be asked from any. `on_end` is called on the take's own."""

    def __init__(
        self, name: str, path: Path, video: VideoSettings, limits: ClipLimits, on_end: Callable[[ClipWriter], None]
    ) -> None:
        self.path = path
        self._name, self._video, self._limits, self._on_end = name, video, limits, on_end
        self._pictures: queue.Queue[tuple[Picture, float]] = queue.Queue(FRAMES_QUEUED)
        self._stop = threading.Event()
        self._why = "asked"
        self._state: Literal["recording", "ready", "failed"] = "recording"
        self._ended: str | None = None
        self._frames = self._bytes = self._ticks = 0
        self._thread = threading.Thread(target=self._run, name="clip", daemon=True)
        self._thread.start()

    def add(self, picture: Picture, at_s: float) -> bool:
        """A picture and when it is shown, in monotonic seconds. False when the file is too far behind to take it."""
        if self._stop.is_set():
            return True
        try:
            self._pictures.put_nowait((picture, at_s))
        except queue.Full:
            return False
        return True

    def stop(self, why: str) -> None:
        """Finish the file; returns when it can be read, or when the disk has not taken it for too long."""
        self._why = why
        self._stop.set()
        self._thread.join(self._limits.finish_s)
        if self._thread.is_alive():
            log.warning("clip %s is not finished after %g s; is its disk there?", self._name, self._limits.finish_s)

    def discard(self) -> None:
        """Nobody wants the file any more."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("a clip's file stays on the disk: %s", error)

    def clip(self) -> Clip:
        return Clip(
            id=self._name,
            state=self._state,
            seconds=round(self._ticks / CLOCK_RATE, 3),
            frames=self._frames,
            bytes=self._bytes,
            ended=self._ended,
        )

    def _run(self) -> None:
        video = self._video
        try:
            with Mp4File(self.path, video.fps, video.height, video.width, TIME_BASE, INDEXED) as file:
                ended = self._record(file)
                self._take_no_more()  # finishing a long file takes its time
            self._bytes = self.path.stat().st_size
            self._state, self._ended = "ready", ended
        except Exception as error:  # the thread's boundary: the clip says what went wrong, the stream goes on
            log.exception("a clip could not be recorded")
            self._state, self._ended = "failed", named_line(error)
            self.discard()
        finally:
            self._take_no_more()  # of a file that failed; or that came at the very end
        self._on_end(self)

    def _take_no_more(self) -> None:
        """Nothing will be written any more: let pictures go, each of which keeps its whole chunk in memory."""
        self._stop.set()
        with contextlib.suppress(queue.Empty):
            while True:
                self._pictures.get_nowait()

    def _record(self, file: Mp4File) -> str:
        """Write pictures until there is a reason to end, and return it."""
        begun_s = None
        while (shown := self._next()) is not None:
            picture, at_s = shown
            begun_s = at_s if begun_s is None else begun_s
            if at_s - begun_s >= self._limits.seconds:
                return "length"
            self._ticks = max(round((at_s - begun_s) * CLOCK_RATE), self._ticks + (self._frames > 0))
            file.write(picture, self._ticks)
            self._frames, self._bytes = self._frames + 1, file.bytes
            if file.bytes >= self._limits.bytes:
                return "size"
        return self._why

    def _next(self) -> tuple[Picture, float] | None:
        """The next picture; None when it was told to stop and all that came before has been written."""
        while True:
            try:
                return self._pictures.get(timeout=POLL_S)
            except queue.Empty:
                if self._stop.is_set():
                    return None
