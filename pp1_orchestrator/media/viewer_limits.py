"""What one viewer's packets may cost: which are heard, how many a second, and what is sent again for them.

Knows the first bytes of the protocols that share a viewer's port (RFC 7983), and nothing of aiortc.
"""

import time
from collections.abc import Callable
from typing import Literal

Kind = Literal["stun", "dtls", "rtcp"]
Clock = Callable[[], float]

MAX_BYTES = 1500
"""Longer datagrams are refused: none of the protocols needs them, and parsing a STUN message takes the square of it."""
STUN_HEADER_BYTES, STUN_COOKIE = 20, bytes.fromhex("2112a442")
RTCP_HEADER_BYTES = 8
PACKET_COST = 200
"""A packet costs as much as this many bytes more than it has."""
BUDGETS: dict[Kind, tuple[float, float]] = {"stun": (8_000, 16_000), "dtls": (8_000, 32_000), "rtcp": (64_000, 64_000)}
"""A second and at once. A browser sends at most 20 checks and, at 10 % loss, about 100 RTCP packets a second."""
SENDERS = 16
"""Each SSRC that sends RTCP costs memory for as long as the viewer stays. A browser uses one or two."""
RETRANSMITTED_SHARE = 0.4
"""Of the bit rate, on average and again at once: at most 0.8 of it in any second. The rest is for all other packets."""
RTT_S = (0.02, 1.0)
"""Round trips are held to be no shorter and no longer: the viewer's own reports say how long they are."""
RESENT_KEPT = 512
"""Packets whose time of retransmission is kept. aiortc keeps 128 packets."""
HEADER_BYTES = 96
"""Of a retransmitted packet, on all layers."""


class TokenBucket:
    """So much a second, and so much at once: `per_s` comes in each second, and it holds `burst`, with which it starts.

    clock: seconds that only grow.
    """

    def __init__(self, per_s: float, burst: float, clock: Clock = time.monotonic) -> None:
        self._per_s, self._burst, self._clock = per_s, burst, clock
        self._tokens, self._at_s = burst, clock()

    def take(self, tokens: float = 1.0) -> bool:
        """Whether there were that many; if not, nothing is taken."""
        if self.wait_s(tokens) > 0:
            return False
        self._tokens -= tokens
        return True

    def wait_s(self, tokens: float = 1.0) -> float:
        """Seconds until there are that many; 0 if there are. Takes nothing."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at_s) * self._per_s)
        self._at_s = now
        return max(0.0, tokens - self._tokens) / self._per_s


def kind_of(data: bytes) -> Kind | None:
    """What a datagram claims to be; None for what a viewer has no reason to send, its own media included."""
    if not data or len(data) > MAX_BYTES:
        return None
    first = data[0]
    if first < 4 and len(data) >= STUN_HEADER_BYTES and data[4:8] == STUN_COOKIE:
        return "stun"
    if 20 <= first < 64:
        return "dtls"
    if 128 <= first < 192 and len(data) >= RTCP_HEADER_BYTES and 192 <= data[1] <= 208:
        return "rtcp"
    return None


class DatagramLimit:
    """How much of each kind one viewer may send, and from how many SSRCs. What is beyond that is as good as lost."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._buckets = {kind: TokenBucket(per_s, burst, clock) for kind, (per_s, burst) in BUDGETS.items()}
        self._senders: set[bytes] = set()

    def allows(self, kind: Kind, data: bytes) -> bool:
        if kind == "rtcp" and not self._knows(data[4:8]):
            return False
        return self.takes(kind, len(data))

    def takes(self, kind: Kind, size: int = 0) -> bool:
        """Whether so many bytes in one packet are within what the kind may cost."""
        return self._buckets[kind].take(PACKET_COST + size)

    def _knows(self, sender: bytes) -> bool:
        if len(self._senders) < SENDERS:
            self._senders.add(sender)
        return sender in self._senders


class RetransmissionLimit:
    """Which lost packets are sent again: each once a round trip, all of them within a share of the bit rate.

    bitrate: of the stream, bits a second.
    """

    def __init__(self, bitrate: int, clock: Clock = time.monotonic) -> None:
        bytes_per_s = bitrate / 8 * RETRANSMITTED_SHARE
        self._bucket, self._clock = TokenBucket(bytes_per_s, bytes_per_s, clock), clock
        self._sent_s: dict[int, float] = {}

    def allows(self, sequence_number: int, size: int, rtt_s: float | None) -> bool:
        """size: of the payload. rtt_s: as measured; None: not yet."""
        least, most = RTT_S
        pause_s, now = max(least, min(rtt_s or 0.0, most)), self._clock()
        due = now - self._sent_s.get(sequence_number, float("-inf")) >= pause_s
        if not (due and self._bucket.take(size + HEADER_BYTES)):
            return False
        self._sent_s.pop(sequence_number, None)  # so that the order of the keys is the order of their times
        self._sent_s[sequence_number] = now
        if len(self._sent_s) > RESENT_KEPT:
            del self._sent_s[next(iter(self._sent_s))]
        return True
