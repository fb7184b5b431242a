"""An H.264 video in an MP4 file. Knows nothing of chunks, clocks or limits. Not thread-safe."""

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import av
from av.video.stream import VideoStream

from pp1_orchestrator.media.frames import Frame, Packet, to_yuv420p

CONTAINER_OPTIONS = {
    "movflags": "hybrid_fragmented+empty_moov+frag_every_frame+default_base_moof",
    "flush_packets": "1",
}
"""Each frame goes to the disk as a fragment: the file plays even if the program is killed. Closing adds an index of all
frames in the fragments' place: players then know the length, and can seek."""
FRAGMENT_BYTES = 150
"""Of a frame's fragment and its place in the index, beside the packet; at most."""
CODEC_OPTIONS = {"preset": "veryfast", "crf": "18", "tune": "zerolatency"}
"""The encoder holds no frame back and changes their order nowhere: each is in the file at once, the first one at 0."""


class Mp4File:
    """Open inside a `with`. `bytes` is at least its size so far. Without a frame the file stays empty."""

    def __init__(self, path: Path, fps: float, height: int, width: int, time_base: Fraction) -> None:
        self._time_base = time_base
        self._container = av.open(str(path), "w", container_options=CONTAINER_OPTIONS)
        self._stream = self._add_stream(Fraction(fps).limit_denominator(1001), height, width)
        open(path, "wb").close()  # a bad path fails here; the container opens it with the first frame
        self.bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._container:
            if kind is None and self.bytes:
                self._encode(None)

    def write(self, frame: Frame, pts: int) -> None:
        """pts: growing, in ticks of the time base."""
        video_frame = to_yuv420p(frame)
        video_frame.pts, video_frame.time_base = pts, self._time_base
        self._encode(video_frame)

    def _encode(self, frame: av.VideoFrame | None) -> None:
        packets = cast(list[Packet], self._stream.encode(frame))  # pyright: ignore[reportUnknownMemberType]
        self.bytes += sum(packet.size + FRAGMENT_BYTES for packet in packets)
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
