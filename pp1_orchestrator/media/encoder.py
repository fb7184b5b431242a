"""One video encoder for all viewers. Which codecs there are, and how each is set up for live pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from pp1_orchestrator.media.media_settings import CLOCK_RATE, TIME_BASE, Codec, VideoSettings


@dataclass(frozen=True, slots=True)
class CodecSpec:
    """A codec that browsers and aiortc agree on: its MIME type, FFmpeg's encoder, and the options for it."""

    mime: str
    encoder: str
    options: Callable[[VideoSettings], dict[str, str]]
    profile: str | None = None


def _rate(settings: VideoSettings) -> dict[str, str]:
    """A rate cap over one second."""
    return {"maxrate": str(settings.bitrate), "bufsize": str(settings.bitrate)}


def _vp8(settings: VideoSettings) -> dict[str, str]:
    live = {"deadline": "realtime", "cpu-used": "-6", "lag-in-frames": "0", "static-thresh": "1"}
    return live | _rate(settings) | {"undershoot-pct": "100", "overshoot-pct": "15"}


def _h264(settings: VideoSettings) -> dict[str, str]:
    return {"preset": "veryfast", "tune": "zerolatency", "forced-idr": "1", "level": "31"} | _rate(settings)


CODECS: Mapping[Codec, CodecSpec] = {
    "vp8": CodecSpec("video/VP8", "libvpx", _vp8),
    "h264": CodecSpec("video/H264", "libx264", _h264, profile="Baseline"),
}


class LiveEncoder:
    """Encodes frames without delay: one packet for every frame. One thread only."""

    def __init__(self, settings: VideoSettings) -> None:
        self._settings = settings
        self._context = self._open()
        self._pts = -1

    def encode(self, frame: av.VideoFrame, at_s: float, keyframe: bool) -> list[av.Packet]:
        """frame: yuv420p of the stream's size; at_s: monotonic seconds, growing. Packets carry 90 kHz timestamps."""
        self._pts = max(round(at_s * CLOCK_RATE), self._pts + 1)
        frame.pts, frame.time_base = self._pts, TIME_BASE
        frame.pict_type = PictureType.I if keyframe else PictureType.NONE
        packets = self._context.encode(frame)
        for packet in packets:
            packet.time_base = TIME_BASE
        return packets

    def _open(self) -> VideoCodecContext:
        settings, spec = self._settings, CODECS[self._settings.codec]
        context = VideoCodecContext.create(spec.encoder, "w")
        assert isinstance(context, VideoCodecContext)
        context.width, context.height, context.pix_fmt = settings.width, settings.height, "yuv420p"
        context.bit_rate = settings.bitrate
        context.time_base = TIME_BASE
        context.framerate = Fraction(settings.fps).limit_denominator(1001)
        context.gop_size = max(1, round(settings.fps * settings.keyframe_every_s))
        context.max_b_frames = 0
        context.thread_count = 1
        context.options = spec.options(settings)
        if spec.profile is not None:
            context.profile = spec.profile
        return context
