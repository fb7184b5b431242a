"""What a viewer's RTCP reports say of the way to it: round-trip time, and packets lost. Knows nothing of metrics."""

from dataclasses import dataclass
from datetime import datetime
from typing import cast

from aiortc import RTCRtpSender
from aiortc.stats import RTCOutboundRtpStreamStats, RTCRemoteInboundRtpStreamStats, RTCStats


@dataclass(frozen=True, slots=True)
class ViewerQuality:
    """Between two reports. rtt_s: None where the viewer has not measured it yet."""

    rtt_s: float | None
    sent: int
    lost: int


class QualityReports:
    """The reports about what one sender sends."""

    def __init__(self, sender: RTCRtpSender) -> None:
        self._sender = sender
        self._newest: datetime | None = None
        self._sent = self._lost = 0

    async def take(self) -> ViewerQuality | None:
        """What the newest report says; None without a new one since the last call."""
        stats = cast(dict[str, RTCStats], await self._sender.getStats()).values()
        report = next((each for each in stats if isinstance(each, RTCRemoteInboundRtpStreamStats)), None)
        if report is None or report.timestamp == self._newest:
            return None
        self._newest = report.timestamp
        sent = sum(each.packetsSent for each in stats if isinstance(each, RTCOutboundRtpStreamStats))
        # A packet that came twice makes the count fall, and a viewer may claim anything.
        lost = max(self._lost, min(report.packetsLost, sent))
        quality = ViewerQuality(report.roundTripTime, max(0, sent - self._sent), lost - self._lost)
        self._sent, self._lost = sent, lost
        return quality
