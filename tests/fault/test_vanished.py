"""A viewer that is gone without a word is let go, with the limits that the program ships."""

import asyncio
import time

from pp1_orchestrator.media.settings import PeerLimits
from pp1_orchestrator.media.viewer import CLOSE_S
from tests.media.test_whep import Stream

GONE_S = 15


def test_the_shipped_limits_allow_no_more():
    limits = PeerLimits()
    assert max(limits.silent_s, limits.connect_s) + limits.reap_every_s + CLOSE_S < GONE_S


def test_a_killed_viewer_is_let_go_in_time_and_nothing_is_encoded_for_it():
    async def scene():
        async with Stream(limits=PeerLimits()).running() as stream:
            client, _ = await stream.join()
            await client.wait_frames(5)
            await client.vanish()
            start = time.monotonic()
            await stream.until(lambda: stream.peers.count == 0, seconds=GONE_S + 5)
            took_s = time.monotonic() - start
            encoded = stream.broadcaster._encoder._pts
            await asyncio.sleep(0.3)
            assert stream.broadcaster._encoder._pts == encoded
            return took_s

    assert asyncio.run(scene()) <= GONE_S
