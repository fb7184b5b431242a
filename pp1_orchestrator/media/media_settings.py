"""Settings of the video stream and the limits of its viewers. Plain values: where they come from is not known here."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Protocol

from pp1_orchestrator.types import DropReason

Codec = Literal["vp8", "h264"]
PlaceLimit = Literal["pending", "viewers", "address"]

CLOCK_RATE = 90_000
"""Ticks a second of every timestamp in a packet: RTP's clock for video."""
TIME_BASE = Fraction(1, CLOCK_RATE)


@dataclass(frozen=True, slots=True)
class VideoSettings:
    """One encoded stream. Sizes in pixels (even), bitrate in bits a second, the rest in seconds and frames a second."""

    height: int
    width: int
    fps: float
    codec: Codec = "vp8"
    bitrate: int = 1_500_000
    keyframe_every_s: float = 3.0
    keyframe_throttle_s: float = 1.0
    """Keyframes that viewers ask for are at least this far apart."""


@dataclass(frozen=True, slots=True)
class PeerLimits:
    """What viewers may ask for."""

    viewers: int = 16
    viewers_per_address: int = 4
    """Of any address but loopback, where tunnels and proxies end."""
    offers_pending: int = 8
    offer_bytes: int = 16 * 1024
    media_sections: int = 4
    candidates: int = 32
    packets_queued: int = 32
    """A viewer that is further behind is moved on to the next keyframe."""
    connect_s: float = 10.0
    rest_s: float = 3.5
    """A viewer that has sent no receiver report for this long gets nothing more until it sends one. They come each
    second or so, and some are lost."""
    silent_s: float = 10.0
    """A viewer that has sent no receiver report for this long is gone."""
    reap_every_s: float = 1.0


class MediaFigures(Protocol):
    """Takes the numbers that this package counts. Thread-safe and cheap."""

    def frames_dropped(self, reason: DropReason, count: int = 1) -> None: ...

    def queue_depth(self, queue: str, depth: int) -> None: ...

    def viewers(self, count: int) -> None: ...

    def limited(self, limit: PlaceLimit) -> None: ...


class NoFigures:
    """Counts nothing."""

    def frames_dropped(self, reason: DropReason, count: int = 1) -> None: ...

    def queue_depth(self, queue: str, depth: int) -> None: ...

    def viewers(self, count: int) -> None: ...

    def limited(self, limit: PlaceLimit) -> None: ...
