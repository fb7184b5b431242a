"""Writes every decoded frame into an MP4 file that plays even if the program is killed."""

import contextlib
import logging
import queue
import threading
from fractions import Fraction
from pathlib import Path

from pp1_orchestrator.errors import Stage0Error
from pp1_orchestrator.media.frames import as_arrays
from pp1_orchestrator.media.mp4 import Mp4File
from pp1_orchestrator.types import DecodedChunk

log = logging.getLogger(__name__)

CHUNKS_QUEUED = 8


class Mp4Recorder:
    """A FrameSink without a clock: it takes chunks as fast as they come and drops none.

    stall_s: a disk that has accepted nothing for this long has failed.
    """

    def __init__(self, path: Path, fps: float, height: int, width: int, stall_s: float = 30.0) -> None:
        self._path, self._format, self._stall_s = path, (fps, height, width), stall_s
        self._frames_written = 0
        self._time_base = 1 / Fraction(fps).limit_denominator(1001)
        self._chunks: queue.Queue[DecodedChunk | None] = queue.Queue(CHUNKS_QUEUED)
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def put(self, chunk: DecodedChunk | None) -> None:
        """Queue a chunk; None ends the file. Waits while it is behind. Raises Stage0Error when it can't be written."""
        self._raise_failure()
        try:
            self._chunks.put(chunk, timeout=self._stall_s)
        except queue.Full:
            raise self._stalled() from None

    def wait_for_room(self, timeout_s: float, coming: int = 0, lead_s: float = 0.0) -> bool:
        return True

    def flush(self) -> None:
        """Does nothing: a recording keeps what came before a cut."""

    def close(self) -> None:
        """Write what is queued and finish the file, while there is progress. Raises as `put` does."""
        if self._thread.is_alive():
            self.put(None)
        while self._thread.is_alive():
            written = self._frames_written
            self._thread.join(self._stall_s)
            if self._thread.is_alive() and self._frames_written == written:
                raise self._stalled()
        self._raise_failure()

    def _stalled(self) -> Stage0Error:
        return Stage0Error(f"{self._path}: nothing could be written for {self._stall_s:g} s")

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise Stage0Error(f"{self._path} can't be written: {self._failure}") from self._failure

    def _run(self) -> None:
        try:
            with Mp4File(self._path, *self._format, self._time_base) as file:
                while (chunk := self._chunks.get()) is not None:
                    for frame in as_arrays(chunk.frames):
                        file.write(frame, self._frames_written)
                        self._frames_written += 1
        except Exception as error:  # the thread's boundary: it is raised again with the producer's next chunk
            log.exception("the recording has failed")
            self._failure = error
            with contextlib.suppress(queue.Empty):  # the producer may be waiting for room
                while True:
                    self._chunks.get_nowait()
