"""What a viewer can make the server send beyond the stream, and what it still gets when packets are lost."""

import asyncio
import random
import struct
import time

import pytest

from pp1_orchestrator.media.aiortc_patches import REMOTE_CANDIDATES, ice_connection
from tests.media.test_whep import FPS, play, steps
from tests.security.attacked_stream import attack
from tests.security.udp_attacks import nack

NACKS, EACH_NAMED = 60, 25
LOSS = 0.1


def is_media(data: bytes) -> bool:
    return 128 <= data[0] < 192 and not 192 <= data[1] <= 208


class Sent:
    """What leaves a viewer's port besides the stream: when, and bytes."""

    def __init__(self, sender, connection) -> None:
        self.extra: list[tuple[float, int]] = []
        self._ssrc, self._seen = struct.pack("!I", sender._ssrc), set()
        [pair] = connection._nominated.values()
        self._send = pair.protocol.transport.sendto
        pair.protocol.transport.sendto = self._record

    def _record(self, data, addr) -> None:
        if is_media(data) and data[8:12] == self._ssrc and data[2:4] not in self._seen:
            self._seen.add(data[2:4])
        else:
            self.extra.append((time.monotonic(), len(data)))
        self._send(data, addr)

    def most_in_a_second(self) -> int:
        return max(sum(size for at_s, size in self.extra if start <= at_s < start + 1) for start, _ in self.extra)


def sent_numbers(sender) -> list[int]:
    """Of the packets that could be sent again."""
    history = getattr(sender, "_RTCRtpSender__rtp_history")  # noqa: B009 - it has no other name
    return sorted(packet.sequence_number for packet in history.values())


def test_what_is_sent_again_never_exceeds_the_bit_rate():
    async def scene(watched):
        sent, ssrc = Sent(watched.sender, watched.connection), watched.sender._ssrc
        async with watched.undisturbed():
            for _ in range(NACKS):
                numbers = sent_numbers(watched.sender)
                await watched.victim.transport._send_rtp(nack(ssrc, numbers, times=EACH_NAMED))
                await watched.victim.transport._send_rtp(nack(ssrc, numbers))
                await asyncio.sleep(0.03)
        await watched.still_watches()
        return sent.most_in_a_second(), watched.stream.settings.bitrate / 8

    most, allowed = attack(scene)
    assert 0.2 * allowed < most <= allowed


def test_checks_of_a_viewer_are_answered_within_the_bit_rate_and_at_few_addresses():
    """It knows the password, and could claim to be anybody."""

    async def scene(watched):
        sent = Sent(watched.sender, watched.connection)
        own = ice_connection(watched.victim.transport)
        [pair] = own._nominated.values()
        for n in range(2000):
            request = own.build_request(pair, nominate=False)
            request.add_message_integrity(watched.connection.local_password.encode())
            for protocol in watched.connection._protocols:
                protocol.datagram_received(bytes(request), ("127.0.0.1", 1024 + n))
            if n % 50 == 0:
                await asyncio.sleep(0.01)
        addresses = len(watched.connection._remote_candidates)
        await watched.still_watches()
        return sent.most_in_a_second(), watched.stream.settings.bitrate / 8, addresses

    most, allowed, addresses = attack(scene)
    assert most <= allowed
    assert addresses <= REMOTE_CANDIDATES


def test_a_packet_that_is_replayed_is_not_heard_again():
    async def scene(watched):
        sent, own = Sent(watched.sender, watched.connection), ice_connection(watched.victim.transport)
        numbers = sent_numbers(watched.sender)[-1:]
        protected = watched.victim.transport._tx_srtp.protect_rtcp(nack(watched.sender._ssrc, numbers))
        for _ in range(10):
            await own.send(protected)
            await asyncio.sleep(0.05)
        return len([size for _, size in sent.extra if size > 200])

    assert attack(scene) <= 1


def lose(client, seed: int) -> list[bytes]:
    """Let a client lose a tenth of all media that comes; the list grows with what was lost."""
    chance, lost = random.Random(seed), []
    for protocol in ice_connection(client.transport)._protocols:
        receive = protocol.datagram_received

        def maybe(data, addr, receive=receive):
            if is_media(data) and chance.random() < LOSS:
                lost.append(data)
            else:
                receive(data, addr)

        protocol.datagram_received = maybe
    return lost


@pytest.mark.slow
def test_a_tenth_of_all_packets_lost_is_repaired():
    async def scene(stream):
        client, _ = await stream.join()
        await client.wait_frames(5)
        lost, start = lose(client, seed=1), len(client.numbers)
        await client.wait_frames(start + 8 * FPS)
        await client.close()
        return client.numbers[start:], lost

    numbers, lost = play(scene)
    assert len(lost) > 10
    assert steps(numbers).count(1) >= len(numbers) - 1 - 2, numbers
