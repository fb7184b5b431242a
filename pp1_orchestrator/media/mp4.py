"""An H.264 video in an MP4 file. Knows nothing of chunks, clocks or limits. Not thread-safe."""

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import av
from av.video.stream import VideoStream

from pp1_orchestrator.media.frames import Frame, Packet, to_yuv420p

FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
"""Fragments, written to disk immediately: the file plays even if the program is killed."""
INDEXED = {"movflags": "faststart"}
"""Readable only once it is closed; players then know its length and can seek in it."""
CODEC_OPTIONS = {"preset": "veryfast", "crf": "18"}


class Mp4File:
    """Open inside a `with`. `bytes` counts the packets so far."""

    def __init__(
        self, path: Path, fps: float, height: int, width: int, time_base: Fraction, container: dict[str, str]
    ) -> None:
        self._time_base = time_base
        self._container = av.open(str(path), "w", container_options=container)
        self._stream = self._add_stream(Fraction(fps).limit_denominator(1001), height, width)
        self._container.start_encoding()  # opens the file, so that a bad path fails here and not at the end
        self.bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._container:
            if kind is None:
                self._encode(None)

    def write(self, frame: Frame, pts: int) -> None:
        """pts: growing, in ticks of the time base."""
        video_frame = to_yuv420p(frame)
        video_frame.pts, video_frame.time_base = pts, self._time_base
        self._encode(video_frame)

    def _encode(self, frame: av.VideoFrame | None) -> None:
        packets = cast(list[Packet], self._stream.encode(frame))  # pyright: ignore[reportUnknownMemberType]
        self.bytes += sum(packet.size for packet in packets)
        self._container.mux(packets)  # pyright: ignore[reportUnknownMemberType]

    def _add_stream(self, rate: Fraction, height: int, width: int) -> VideoStream:
        stream: object = self._container.add_stream("libx264", rate=rate, options=CODEC_OPTIONS)  # pyright: ignore[reportUnknownMemberType]
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = self._time_base
        stream.codec_context.gop_size = max(1, round(rate))
        stream.codec_context.thread_count = 1
        return stream
