"""Which datagrams are heard, and what they may cost, with a clock that the tests control."""

import pytest

from pp1_orchestrator.media.viewer_limits import (
    HEADER_BYTES,
    MAX_BYTES,
    SENDERS,
    DatagramLimit,
    RetransmissionLimit,
    TokenBucket,
    kind_of,
)
from tests.security.udp_attacks import CLIENT_HELLO, JUNK, stun_request

BITRATE, SIZE = 1_500_000, 1200


class Clock:
    """Seconds, set by the test."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_gives_its_burst_at_once_and_its_rate_after_that():
    clock = Clock()
    bucket = TokenBucket(10, 5, clock)
    assert [bucket.take() for _ in range(6)] == [True] * 5 + [False]
    clock.now += 0.25
    assert bucket.take(2)
    assert not bucket.take()
    clock.now += 1000
    assert bucket.take(5)
    assert not bucket.take()


@pytest.mark.parametrize(
    ("packet", "kind"),
    [
        (stun_request(), "stun"),
        (CLIENT_HELLO, "dtls"),
        (bytes([128, 201]) + bytes(6), "rtcp"),
        (bytes([191, 206]) + bytes(MAX_BYTES - 2), "rtcp"),
        (bytes([191, 206]) + bytes(MAX_BYTES - 1), None),
        (bytes([128, 96]) + bytes(100), None),
        (bytes([128, 201]) + bytes(5), None),
        (stun_request()[:19], None),
        (bytes(20), None),
        (bytes([64]) + bytes(30), None),
        (b"", None),
    ],
)
def test_a_datagram_is_what_its_first_bytes_say(packet, kind):
    assert kind_of(packet) == kind


def test_any_bytes_are_some_kind_or_none():
    for packet in (*JUNK.values(), *(bytes([first]) for first in range(256))):
        assert kind_of(packet) in ("stun", "dtls", "rtcp", None)


def test_packets_of_each_kind_are_counted_apart():
    clock = Clock()
    limit, packet = DatagramLimit(clock), bytes(40)
    heard = sum(limit.allows("rtcp", packet) for _ in range(1000))
    assert 200 < heard < 300
    assert limit.allows("dtls", packet)
    assert limit.takes("stun")
    clock.now += 1
    assert sum(limit.allows("rtcp", packet) for _ in range(1000)) == pytest.approx(heard, abs=1)


def test_a_viewer_has_a_few_senders_and_no_more():
    limit = DatagramLimit(Clock())
    packets = [bytes([128, 201, 0, 0]) + bytes([n]) * 4 for n in range(SENDERS + 2)]
    assert [limit.allows("rtcp", packet) for packet in packets] == [True] * SENDERS + [False] * 2
    assert limit.allows("rtcp", packets[0])


class TestRetransmissions:
    def test_once_a_round_trip(self):
        clock = Clock()
        limit = RetransmissionLimit(BITRATE, clock)
        assert [limit.allows(7, SIZE, 0.1) for _ in range(60)] == [True] + [False] * 59
        clock.now += 0.09
        assert not limit.allows(7, SIZE, 0.1)
        clock.now += 0.02
        assert limit.allows(7, SIZE, 0.1)

    @pytest.mark.parametrize(("rtt_s", "held_s"), [(None, 0.02), (-5.0, 0.02), (0.0, 0.02), (3600.0, 1.0)])
    def test_a_round_trip_that_the_viewer_made_up_is_held_to_be_a_possible_one(self, rtt_s, held_s):
        clock = Clock()
        limit = RetransmissionLimit(BITRATE, clock)
        assert limit.allows(7, SIZE, rtt_s)
        clock.now += held_s * 0.9
        assert not limit.allows(7, SIZE, rtt_s)
        clock.now += held_s * 0.2
        assert limit.allows(7, SIZE, rtt_s)

    def test_never_more_than_the_bit_rate_in_any_second(self):
        clock = Clock()
        limit = RetransmissionLimit(BITRATE, clock)
        sent: list[tuple[float, int]] = []
        for step in range(5000):
            clock.now += 0.001
            sent += [(clock.now, SIZE + HEADER_BYTES) for n in range(4) if limit.allows(step * 4 + n, SIZE, 0.02)]
        most = max(sum(size for at_s, size in sent if start <= at_s < start + 1) for start, _ in sent)
        assert BITRATE / 8 * 0.5 < most <= BITRATE / 8
        assert len(limit._sent_s) <= 512
