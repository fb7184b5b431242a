"""The wall clock jumps: the stream goes on in its rhythm, because nothing in it waits for that clock."""

import asyncio
import itertools
import time

import pytest

from pp1_orchestrator.media.media_settings import PeerLimits
from tests.media.numbered_frames import read_number
from tests.media.test_whep import FPS, QUICK, Stream
from tests.media.whep_client import Client

AHEAD = 30
BURST = 2


class Times:
    """A frame consumer that notes when each frame is shown, on the monotonic clock, and passes it on."""

    def __init__(self, consumer) -> None:
        self._consumer = consumer
        self.at: list[float] = []

    def show(self, frame, at_s) -> None:
        self.at.append(time.monotonic())
        self._consumer.show(frame, at_s)


@pytest.mark.parametrize("jump_s", [-3600, -10, 20, 3600])
def test_a_viewer_sees_every_frame_and_no_burst(monkeypatch, jump_s):
    """Paced by the wall clock, a jump back would be a standstill for as long, and one ahead a burst of frames."""
    real, shift = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + shift[0])

    async def scene():
        stream = Stream(limits=QUICK)
        times = Times(stream.broadcaster)
        stream.sink._consumers = [times]
        async with stream.running():
            client, _ = await stream.join()
            await client.wait_frames(12)
            shift[0] = float(jump_s)
            await client.wait_frames(12 + AHEAD)
            assert stream.peers.count == 1
            await client.close()
        return client.numbers, times.at

    numbers, at = asyncio.run(scene())
    steps = [b - a for a, b in itertools.pairwise(numbers)]
    assert steps.count(1) == len(steps), numbers
    for i, j in itertools.combinations(range(0, len(at), 4), 2):
        assert j - i <= (at[j] - at[i]) * FPS + BURST


def test_a_jump_does_not_make_a_viewer_look_gone(monkeypatch):
    async def scene():
        async with Stream(limits=PeerLimits(reap_every_s=0.05)).running() as stream:
            client = Client(read_number)
            _, answer = await stream.peers.offer(await client.offer())
            await client.take(answer)
            await client.wait_frames(3)
            real = time.time
            monkeypatch.setattr(time, "time", lambda: real() + 86_400)
            await client.wait_frames(3 + FPS)
            assert stream.peers.count == 1
            await client.close()

    asyncio.run(scene())
