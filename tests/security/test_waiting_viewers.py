"""Offers that never connect: they hold few places, and none for long; those who watch are never asked to leave."""

import asyncio
import time
from dataclasses import replace

import pytest

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.media.media_settings import PeerLimits
from pp1_orchestrator.media.whep import CLOSED
from tests.fault.sdp_offers import seeds
from tests.media.test_whep import play

OFFERS = 48
LIMITS = replace(PeerLimits(), yield_s=0.3)
BUSY = "too many viewers are connecting; try again"


async def refusal(stream, address="127.0.0.1") -> str | None:
    """Why an offer that never connects is not taken; None if it is."""
    try:
        await stream.peers.offer(seeds()[0], address)
    except RequestError as error:
        return str(error) if error.status == 503 else repr(error)
    return None


def test_offers_that_never_connect_keep_nobody_out():
    async def scene(stream):
        watching, _ = await stream.join()
        await watching.wait_frames(5)
        refusals = [await refusal(stream) for _ in range(OFFERS)]
        assert stream.peers.count <= 1 + LIMITS.connecting
        await asyncio.sleep(LIMITS.yield_s)
        later, viewer_id = await stream.join()
        await later.wait_frames(5)
        assert viewer_id in stream.peers._viewers
        seen = len(watching.numbers)
        await watching.wait_frames(seen + 5)
        for client in (watching, later):
            await client.close()
        return refusals

    assert play(scene, limits=LIMITS) == [None] * OFFERS


def test_all_places_are_filled_in_one_moment():
    async def scene(stream):
        joined = await asyncio.gather(*(stream.join() for _ in range(LIMITS.viewers)))
        clients = [client for client, _ in joined]
        await asyncio.gather(*(client.wait_frames(5) for client in clients))
        assert set(stream.peers._viewers) == {viewer_id for _, viewer_id in joined}
        assert stream.metrics.limits == []
        for client in clients:
            await client.close()

    play(scene, limits=PeerLimits(wait_s=120.0, connect_s=120.0, silent_s=120.0))


def test_offers_that_wait_come_in_their_order_and_end_with_the_server():
    limits = replace(LIMITS, connecting=1, yield_s=120.0, wait_s=120.0)

    async def scene(stream):
        assert await refusal(stream) is None
        done: list[int] = []
        waiting = [asyncio.create_task(refusal(stream)) for _ in range(3)]
        for number, task in enumerate(waiting):
            task.add_done_callback(lambda _, number=number: done.append(number))
        await stream.until(lambda: len(stream.peers._waiting) == 3)
        await stream.peers.close(next(iter(stream.peers._viewers)))
        await stream.until(lambda: done == [0])
        await stream.peers.close_all()
        assert await asyncio.gather(*waiting) == [None, CLOSED, CLOSED]
        assert await refusal(stream) == CLOSED
        assert (stream.peers._viewers, stream.peers._pending, stream.peers._waiting) == ({}, [], [])

    play(scene, limits=limits)


def test_an_address_waits_within_its_share():
    limits = replace(LIMITS, connecting=1, viewers_per_address=3, yield_s=120.0, wait_s=0.05)

    async def scene(stream):
        assert await refusal(stream) is None
        outcomes = await asyncio.gather(*(refusal(stream, "10.0.0.1") for _ in range(5)))
        assert outcomes == [BUSY] * 3 + ["all 3 viewer places of one address are taken"] * 2

    play(scene, limits=limits)


def test_the_one_that_has_been_connecting_for_longest_gives_way_and_only_to_a_good_offer():
    limits = replace(LIMITS, connecting=4, yield_s=3.0, wait_s=0.05)

    async def scene(stream):
        for _ in range(limits.connecting):
            assert await refusal(stream) is None
        first, *others = stream.peers._viewers
        assert await refusal(stream) == BUSY
        await asyncio.sleep(limits.yield_s)
        with pytest.raises(RequestError, match="must start with v="):
            await stream.peers.offer("nothing")
        assert list(stream.peers._viewers) == [first, *others]
        assert await refusal(stream) is None
        assert list(stream.peers._viewers)[:-1] == others
        assert stream.metrics.limits == ["pending"]

    play(scene, limits=limits)


def test_an_address_gives_way_to_itself():
    limits = replace(LIMITS, viewers_per_address=2)

    async def scene(stream):
        assert await refusal(stream, "10.0.0.2") is None
        for _ in range(limits.viewers_per_address):
            assert await refusal(stream, "10.0.0.1") is None
        other, first, _ = stream.peers._viewers
        await asyncio.sleep(limits.yield_s)
        assert await refusal(stream, "10.0.0.1") is None
        assert other in stream.peers._viewers
        assert first not in stream.peers._viewers

    play(scene, limits=limits)


def test_viewers_that_watch_keep_their_places():
    limits = replace(LIMITS, viewers=2)

    async def scene(stream):
        clients = [(await stream.join())[0] for _ in range(limits.viewers)]
        await asyncio.gather(*(client.wait_frames(5) for client in clients))
        await asyncio.sleep(limits.yield_s)
        started = time.monotonic()
        while time.monotonic() < started + limits.yield_s:
            assert await refusal(stream) == "all 2 viewer places are taken"
            await asyncio.sleep(0.02)
        assert stream.peers.count == limits.viewers
        for client in clients:
            await client.close()

    play(scene, limits=limits)
