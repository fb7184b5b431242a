"""Clips of what viewers see: one is recorded at a time, the newest few are kept, and none grows without end.

A Screen: `present` is called on the pacer's thread and never waits for a disk. Everything else may be called from any.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.media.clip_writer import ClipLimits, ClipWriter
from pp1_orchestrator.media.frames import Picture
from pp1_orchestrator.media.media_settings import MediaFigures, VideoSettings
from pp1_orchestrator.types import Clip

log = logging.getLogger(__name__)


class ClipRecorder:
    """on_change: told of a clip that begins, and of one that has ended."""

    def __init__(
        self,
        folder: Path,
        video: VideoSettings,
        limits: ClipLimits,
        figures: MediaFigures,
        on_change: Callable[[Clip], None] = lambda _: None,
    ) -> None:
        self._folder, self._video, self._limits = folder, video, limits
        self._figures, self._on_change = figures, on_change
        self._lock = threading.Lock()
        self._takes: dict[str, ClipWriter] = {}
        self._count = 0
        self._running: ClipWriter | None = None
        self._picture: Picture | None = None

    def present(self, picture: Picture, at_s: float) -> None:
        self._picture, take = picture, self._running
        if take is not None and not take.add(picture, at_s):
            self._figures.frames_dropped("slow_recorder")

    def start(self) -> Clip:
        """Begin a clip with the picture that is shown now. Raises RequestError: 409 or 503."""
        with self._lock:
            # One that has just ended may not have said so yet: its thread waits for this lock.
            if self._running is not None and (running := self._running.clip()).state == "recording":
                raise RequestError(f"clip {running.id} is being recorded; stop it first", status=409)
            self._make_room()
            self._count += 1
            name = f"c{self._count}"
            take = ClipWriter(name, self._folder / f"{name}.mp4", self._video, self._limits, self._over)
            if self._picture is not None:
                take.add(self._picture, time.monotonic())
            self._takes[name] = self._running = take
            self._on_change(clip := take.clip())
        return clip

    def stop(self, why: str = "asked") -> Clip:
        """End the clip; returns when its file can be read. Raises RequestError 409 when there is none.

        A disk that hangs is not waited for: the clip is then still being recorded.
        """
        take = self._running
        if take is None:
            raise RequestError("no clip is being recorded", status=409)
        take.stop(why)
        return take.clip()

    def clips(self) -> list[Clip]:
        """Those that are kept, oldest first."""
        with self._lock:
            return [take.clip() for take in self._takes.values()]

    def newest(self) -> Clip | None:
        clips = self.clips()
        return clips[-1] if clips else None

    def file(self, name: str) -> Path | None:
        """Where a clip lies; None when there is none of this name that is ready."""
        with self._lock:
            take = self._takes.get(name)
        return take.path if take is not None and take.clip().state == "ready" else None

    def close(self) -> None:
        """Finish what is being recorded."""
        take = self._running
        if take is not None:
            take.stop("stopped")

    def _make_room(self) -> None:
        """Let the oldest clips go, and see whether another one fits on the disk."""
        while len(self._takes) >= self._limits.kept:
            self._takes.pop(next(iter(self._takes))).discard()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self._folder).free
        except OSError as error:
            log.warning("no clip can be recorded: %s", error)
            raise RequestError("clips can't be written at this moment", status=503) from error
        if free < self._limits.bytes:
            raise RequestError(f"a clip may need {self._limits.bytes} bytes; the disk has {free} left", status=503)

    def _over(self, take: ClipWriter) -> None:
        """Called on the take's thread when its file is complete."""
        with self._lock:
            if self._running is take:
                self._running = None
        self._on_change(take.clip())
