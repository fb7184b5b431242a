"""Clips of what viewers see. One is recorded at a time, the newest few are kept, and each has a maximum size.

A FrameConsumer: `show` is called on the pacer's thread and never waits for a disk. The rest may be called from any.
"""

import logging
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.media.clip_writer import ClipLimits, ClipWriter
from pp1_orchestrator.media.frames import Frame
from pp1_orchestrator.media.media_settings import VideoSettings
from pp1_orchestrator.telemetry.metrics import Metrics
from pp1_orchestrator.types import Clip

log = logging.getLogger(__name__)
NOT_NOW = "clips can't be written at this moment"


class ClipRecorder:
    """on_change is called with each clip that begins and each that has ended."""

    def __init__(
        self,
        folder: Path,
        video: VideoSettings,
        limits: ClipLimits,
        metrics: Metrics,
        on_change: Callable[[Clip], None] = lambda _: None,
    ) -> None:
        self._folder, self._video, self._limits = folder, video, limits
        self._metrics, self._on_change = metrics, on_change
        self._lock = threading.Lock()
        self._writers: dict[str, ClipWriter] = {}
        self._count = 0
        self._current: ClipWriter | None = None
        """The newest. It may have ended, and then takes no more frames."""
        self._last_frame: Frame | None = None
        self._closed = False

    def show(self, frame: Frame, at_s: float) -> None:
        self._last_frame, writer = frame, self._current
        if writer is not None and not writer.add(frame, at_s):
            self._metrics.frames_dropped("slow_recorder")

    def start(self) -> Clip:
        """Begin a clip with the frame that viewers see now. Raises RequestError 409 or 503."""
        with self._lock:
            if self._closed:
                raise RequestError("the stream is ending; no clip is begun", status=503)
            if self._current is not None and (current := self._current.clip()).state == "recording":
                raise RequestError(f"clip {current.id} is being recorded; stop it first", status=409)
            excess = list(self._writers.items())[: max(0, len(self._writers) - self._limits.kept + 1)]
            self._check_room([writer.path for _, writer in excess])
            clip_id = f"c{self._count + 1}"
            path = self._folder / f"{clip_id}.mp4"
            try:
                writer = ClipWriter(clip_id, path, self._video, self._limits, self._on_change)
            except RuntimeError as error:  # no thread can be started
                raise RequestError(NOT_NOW, status=503) from error
            self._count += 1
            for name, old in excess:  # only now: a clip that is refused changes nothing
                del self._writers[name]
                old.discard()
            if self._last_frame is not None:
                writer.add(self._last_frame, time.monotonic())
            self._writers[clip_id] = self._current = writer
            return writer.clip()

    def stop(self) -> Clip:
        """End the clip and wait until its file can be read. Raises RequestError 409 when none is being recorded.

        The wait is limited. After it, a clip on a hanging disk is still being recorded.
        """
        writer = self._current
        if writer is None or writer.clip().state != "recording":
            raise RequestError("no clip is being recorded", status=409)
        writer.stop("asked")
        return writer.clip()

    def clips(self) -> list[Clip]:
        """The clips that are kept, oldest first."""
        with self._lock:
            return [writer.clip() for writer in self._writers.values()]

    def newest(self) -> Clip | None:
        clips = self.clips()
        return clips[-1] if clips else None

    def file(self, name: str) -> Path | None:
        """The file of the clip with this id; None unless there is one and it is ready."""
        with self._lock:
            writer = self._writers.get(name)
        return writer.path if writer is not None and writer.clip().state == "ready" else None

    def close(self) -> None:
        """Finish the clip that is being recorded, and begin no other."""
        with self._lock:
            self._closed = True
            writer = self._current
        if writer is not None:
            writer.stop("stopped")

    def _check_room(self, excess: Sequence[Path]) -> None:
        """Check that another clip fits on the disk when these files are deleted. Raises RequestError 503."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self._folder).free + sum(path.stat().st_size for path in excess if path.is_file())
        except OSError as error:
            log.warning("no clip can be recorded: %s", error)
            raise RequestError(NOT_NOW, status=503) from error
        if free < self._limits.bytes:
            raise RequestError(f"a clip may need {self._limits.bytes} bytes; the disk has {free} left", status=503)
