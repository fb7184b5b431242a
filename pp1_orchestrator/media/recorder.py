"""Writes every decoded frame into an MP4 file that can be played even if the program is killed."""

from __future__ import annotations

import logging
import queue
import threading
from fractions import Fraction
from pathlib import Path

from pp1_orchestrator.errors import Stage0Error
from pp1_orchestrator.media.frames import as_arrays
from pp1_orchestrator.media.mp4 import FRAGMENTED, Mp4File
from pp1_orchestrator.ports import DecodedChunk

log = logging.getLogger(__name__)

CHUNKS_QUEUED = 8
POLL_S = 0.5
STALL_POLLS = 60


class Mp4Recorder:
    """A FrameSink without a clock: it takes chunks as fast as they come and drops none."""

    def __init__(self, path: Path, fps: float, height: int, width: int) -> None:
        self._path, self._shape = path, (fps, height, width)
        self._tick = 1 / Fraction(fps).limit_denominator(1001)
        self._chunks: queue.Queue[DecodedChunk | None] = queue.Queue(CHUNKS_QUEUED)
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def put(self, chunk: DecodedChunk) -> None:
        """Queue a chunk; waits while the file is behind. Raises Stage0Error when it can't be written."""
        self._enqueue(chunk)

    def wait_for_room(self, timeout_s: float, coming: int = 0, lead_s: float = 0.0) -> bool:
        return True

    def flush(self) -> None:
        """A recording keeps what came before a cut."""

    def close(self) -> None:
        """Write what is queued and finish the file. Raises Stage0Error when it can't be written."""
        if self._thread.is_alive():
            self._enqueue(None)
            self._thread.join()
        self._check()

    def _enqueue(self, chunk: DecodedChunk | None) -> None:
        for _ in range(STALL_POLLS):
            self._check()
            try:
                return self._chunks.put(chunk, timeout=POLL_S)
            except queue.Full:
                continue
        raise Stage0Error(f"{self._path}: nothing could be written for {POLL_S * STALL_POLLS:.0f} s")

    def _check(self) -> None:
        if self._failure is not None:
            raise Stage0Error(f"{self._path} can't be written: {self._failure}") from self._failure

    def _run(self) -> None:
        try:
            with Mp4File(self._path, *self._shape, self._tick, FRAGMENTED) as file:
                self._write(file)
        except Exception as error:  # the thread's boundary: the producer is told with its next chunk
            log.exception("the recording has failed")
            self._failure = error

    def _write(self, file: Mp4File) -> None:
        count = 0
        while (chunk := self._chunks.get()) is not None:
            for picture in as_arrays(chunk.frames):
                file.write(picture, count)
                count += 1
