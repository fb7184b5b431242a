"""Writes every decoded frame into an MP4 file that can be played even if the program is killed."""

from __future__ import annotations

import logging
import queue
import threading
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.video.stream import VideoStream

from pp1_orchestrator.errors import Stage0Error
from pp1_orchestrator.media.frames import as_arrays, to_yuv420p
from pp1_orchestrator.ports import DecodedChunk

log = logging.getLogger(__name__)

CHUNKS_QUEUED = 8
POLL_S = 0.5
STALL_POLLS = 60
CONTAINER_OPTIONS = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
"""Fragments that reach the disk at once: a plain MP4 is unreadable until it is closed."""
CODEC_OPTIONS = {"preset": "veryfast", "crf": "18"}


class Mp4Recorder:
    """A FrameSink without a clock: it takes chunks as fast as they come and drops none."""

    def __init__(self, path: Path, fps: float, height: int, width: int) -> None:
        self._path, self._rate, self._size = path, Fraction(fps).limit_denominator(1001), (width, height)
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
            with av.open(str(self._path), "w", container_options=CONTAINER_OPTIONS) as container:
                self._write(container)
        except Exception as error:  # the thread's boundary: the producer is told with its next chunk
            log.exception("the recording has failed")
            self._failure = error

    def _write(self, container: OutputContainer) -> None:
        stream = self._add_stream(container)
        container.start_encoding()  # opens the file now, so that a bad path is not found out at the end
        count = 0
        while (chunk := self._chunks.get()) is not None:
            for rgb in as_arrays(chunk.frames):
                frame = to_yuv420p(rgb)
                frame.pts, frame.time_base = count, 1 / self._rate
                count += 1
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    def _add_stream(self, container: OutputContainer) -> VideoStream:
        stream = container.add_stream("libx264", rate=self._rate, options=CODEC_OPTIONS)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = self._size
        stream.pix_fmt = "yuv420p"
        stream.time_base = 1 / self._rate
        stream.codec_context.gop_size = max(1, round(self._rate))
        stream.codec_context.thread_count = 1
        return stream
