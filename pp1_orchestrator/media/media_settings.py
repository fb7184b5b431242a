"""Settings of the video stream and limits of its viewers, as plain values. Knows nothing of where they come from."""

from dataclasses import dataclass
from fractions import Fraction

from pp1_orchestrator.types import Codec

CLOCK_RATE = 90_000
"""Ticks per second of every packet's timestamp: RTP's clock for video."""
TIME_BASE = Fraction(1, CLOCK_RATE)


@dataclass(frozen=True, slots=True)
class VideoSettings:
    """One encoded stream: even sizes in pixels, frames per second, bits per second, and seconds."""

    height: int
    width: int
    fps: float
    codec: Codec = "vp8"
    bitrate: int = 1_500_000
    keyframe_every_s: float = 3.0
    keyframe_throttle_s: float = 1.0
    """Keyframes that viewers request are at least this far apart."""


@dataclass(frozen=True, slots=True)
class PeerLimits:
    """What viewers may use."""

    viewers: int = 16
    viewers_per_address: int = 4
    """Loopback is exempt: tunnels and proxies end there."""
    offers_pending: int = 8
    """Offers that are being answered."""
    offers_waiting: int = 16
    """Offers that wait until fewer viewers are connecting, for at most `wait_s`."""
    wait_s: float = 5.0
    connecting: int = 8
    """Viewers that got an answer and were not heard from yet."""
    offer_bytes: int = 16 * 1024
    media_sections: int = 8
    candidates: int = 32
    packets_queued: int = 32
    """A viewer that is further behind skips to the next keyframe."""
    packets_unreported: int = 16
    """Over TCP: more are not sent before the viewer has reported that it showed the first of them."""
    connect_s: float = 10.0
    yield_s: float = 2.0
    """A viewer that has not connected within this time gives its place to the next offer, if there is no other."""
    rest_s: float = 3.5
    """A viewer without a receiver report for this long gets nothing until it sends one. Viewers send one about every
    second, and some are lost."""
    silent_s: float = 10.0
    """A viewer without a receiver report for this long is removed."""
    reap_every_s: float = 1.0
