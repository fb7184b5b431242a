"""Offers that make no sense, by the thousand: each is answered or refused in one line, and nothing of it stays."""

import asyncio
import contextlib
import gc
import logging

import psutil
import pytest
from aiortc import RTCPeerConnection

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.media.broadcaster import Broadcaster
from pp1_orchestrator.media.media_settings import PeerLimits, VideoSettings
from pp1_orchestrator.media.sdp import CandidatePolicy
from pp1_orchestrator.media.whep import WhepPeers
from pp1_orchestrator.processes.process_tuning import tune_gc
from tests.fault.loop_delay import LoopDelay
from tests.fault.sdp_offers import mutants, seeds
from tests.media.numbered_frames import SIZE, Counted
from tests.timing import stopwatch

FEW, OFFERS = 400, 10_000
ROUNDS = 4
"""The least disturbed one counts: what an offer costs shows in each, what else the machine does need not."""
DELAY_S, LONGEST_S = 0.1, 0.25
"""Of the event loop, at the 99th percentile and at most. An idle machine with two cores needs 0.02 s."""


@contextlib.asynccontextmanager
async def listening(limits=PeerLimits(), figures=None):  # noqa: B008 - frozen
    figures = figures or Counted()
    broadcaster = Broadcaster(VideoSettings(SIZE, SIZE, 24), figures)
    peers = WhepPeers(broadcaster, "vp8", limits, CandidatePolicy("127.0.0.1"), figures)
    peers.start()
    try:
        yield peers
    finally:
        await peers.close_all()


@contextlib.contextmanager
def frozen_heap():
    """What was loaded before is never collected: as in a running server."""
    before = gc.get_threshold()
    tune_gc()
    try:
        yield
    finally:
        gc.set_threshold(*before)


async def settle() -> None:
    """Until only this task and the peers' own are left."""
    async with asyncio.timeout(120):
        while len(asyncio.all_tasks()) > 2:
            await asyncio.sleep(0.02)


async def ask(peers, offer) -> str:
    """What became of an offer, in a few words."""
    try:
        viewer_id, answer = await peers.offer(offer)
    except RequestError as error:
        return "refused" if 400 <= error.status < 500 and len(str(error).splitlines()) == 1 else repr(error)
    assert answer.startswith("v=0")
    assert await peers.close(viewer_id)
    return "answered"


def open_connections() -> int:
    gc.collect()
    return sum(isinstance(thing, RTCPeerConnection) for thing in gc.get_objects())


def test_the_offers_that_are_damaged_are_good_ones():
    async def scene():
        async with listening() as peers:
            return [await ask(peers, offer) for offer in seeds()]

    assert asyncio.run(scene()) == ["answered"] * 3


@pytest.mark.parametrize("offers", [FEW, pytest.param(OFFERS, marks=pytest.mark.slow)])
def test_damaged_offers_leave_nothing_behind_and_hold_nobody_up(caplog, offers):
    caplog.set_level(logging.WARNING)

    async def scene():
        async with listening() as peers:
            await ask(peers, seeds()[0])
            await settle()
            files = psutil.Process().num_fds()
            outcomes = []
            delays = []
            for round_ in range(ROUNDS):
                async with LoopDelay().measured() as delay:
                    for offer in mutants(offers // ROUNDS, seed=round_):
                        outcomes.append(await ask(peers, offer))
                        await asyncio.sleep(0)
                delays.append((delay.quantile(0.99), delay.longest))
            await settle()
            assert peers.count == 0
            assert psutil.Process().num_fds() == files
            return outcomes, delays

    with frozen_heap(), stopwatch() as watch:
        outcomes, delays = asyncio.run(scene())
        assert open_connections() == 0
    assert set(outcomes) == {"refused", "answered"}
    assert [record.getMessage() for record in caplog.records] == []
    usual, longest = map(min, zip(*delays, strict=True))
    assert usual < DELAY_S * watch.scale
    assert longest < LONGEST_S * watch.scale


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("a=fingerprint:", "a=x-fingerprint:", "the video section of the offer has no fingerprint"),
        ("a=ice-pwd:", "a=x-ice-pwd:", "the video section of the offer has no ICE credentials"),
        ("a=rtpmap:96 VP8", "a=rtpmap:x VP8", r"the offer can't be read \(ValueError\)"),
    ],
)
def test_what_an_offer_lacks_is_named(old, new, says):
    chromium = next(offer for offer in seeds() if "a=extmap-allow-mixed" in offer)
    assert old in chromium

    async def scene():
        async with listening() as peers:
            with pytest.raises(RequestError, match=says) as refused:
                await peers.offer(chromium.replace(old, new))
            assert refused.value.status == 400

    asyncio.run(scene())


@pytest.mark.parametrize("bundle", ["0 1", "0 0", "1 0", "1", ""])
def test_a_bundle_of_what_is_not_there_leaves_a_connection_that_can_be_closed(bundle):
    """aiortc would build one that can't."""
    chromium = next(offer for offer in seeds() if "a=extmap-allow-mixed" in offer)

    async def scene():
        async with listening() as peers:
            said = await ask(peers, chromium.replace("a=group:BUNDLE 0", f"a=group:BUNDLE {bundle}"))
            await settle()
            return said

    assert asyncio.run(scene()) == "answered"


def test_two_sections_of_one_name_are_refused():
    firefox = next(offer for offer in seeds() if "mozilla" in offer)

    async def scene():
        async with listening() as peers:
            with pytest.raises(RequestError, match="two sections of the offer have the same mid"):
                await peers.offer(firefox.replace("a=mid:1", "a=mid:0").replace("BUNDLE 0 1", "BUNDLE 0"))

    asyncio.run(scene())
