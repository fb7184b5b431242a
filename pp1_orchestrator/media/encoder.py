"""The video encoder that all viewers share, and the codecs with their settings for live video."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from pp1_orchestrator.media.frames import Packet
from pp1_orchestrator.media.media_settings import CLOCK_RATE, TIME_BASE, Codec, VideoSettings


@dataclass(frozen=True, slots=True)
class CodecSpec:
    """A codec that browsers and aiortc support: its MIME type, FFmpeg's encoder, WebCodecs' name, and
    the encoder's options."""

    mime: str
    encoder: str
    webcodecs: str
    options: Mapping[str, str]
    profile: str | None = None


VP8_OPTIONS = {
    "deadline": "realtime", "cpu-used": "-6", "lag-in-frames": "0", "static-thresh": "1",
    "undershoot-pct": "100", "overshoot-pct": "15",
}  # fmt: skip
H264_OPTIONS = {"preset": "veryfast", "tune": "zerolatency", "forced-idr": "1", "level": "31"}
CODECS: Mapping[Codec, CodecSpec] = {
    "vp8": CodecSpec("video/VP8", "libvpx", "vp8", VP8_OPTIONS),
    "h264": CodecSpec("video/H264", "libx264", "avc1.42001f", H264_OPTIONS, profile="Baseline"),
}


class LiveEncoder:
    """Encodes without delay: one packet for each frame. Not thread-safe."""

    def __init__(self, settings: VideoSettings) -> None:
        self._context = _open(settings)
        self._pts = -1

    def encode(self, frame: av.VideoFrame, at_s: float, keyframe: bool) -> list[Packet]:
        """Packets with 90 kHz timestamps. frame: yuv420p of the stream's size. at_s: growing monotonic seconds."""
        self._pts = max(round(at_s * CLOCK_RATE), self._pts + 1)
        frame.pts, frame.time_base = self._pts, TIME_BASE
        frame.pict_type = PictureType.I if keyframe else PictureType.NONE
        packets = cast(list[Packet], self._context.encode(frame))  # pyright: ignore[reportUnknownMemberType]
        for packet in packets:
            packet.time_base = TIME_BASE
        return packets


def _open(settings: VideoSettings) -> VideoCodecContext:
    spec = CODECS[settings.codec]
    context = VideoCodecContext.create(spec.encoder, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = settings.width, settings.height, "yuv420p"
    context.bit_rate = settings.bitrate
    context.time_base = TIME_BASE
    context.framerate = Fraction(settings.fps).limit_denominator(1001)
    context.gop_size = max(1, round(settings.fps * settings.keyframe_every_s))
    context.max_b_frames = 0
    context.thread_count = 1
    rate = str(settings.bitrate)
    context.options = {**spec.options, "maxrate": rate, "bufsize": rate}  # caps the rate over one second
    if spec.profile is not None:
        context.profile = spec.profile
    return context
