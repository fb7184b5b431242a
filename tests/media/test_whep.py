"""Real viewers over loopback: aiortc on both ends, a paced stream between them."""

import asyncio
import contextlib
import itertools
from dataclasses import replace

import pytest
from aioice.ice import get_host_addresses

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.media.broadcaster import Broadcaster
from pp1_orchestrator.media.frames import placeholder
from pp1_orchestrator.media.media_settings import Codec, PeerLimits, VideoSettings
from pp1_orchestrator.media.pacer import PacedSink
from pp1_orchestrator.media.sdp import CandidatePolicy
from pp1_orchestrator.media.whep import WhepPeers
from tests.media.numbered_frames import SIZE, Counted, NumberedChunks, read_number
from tests.media.whep_client import Client

FPS = 24
QUICK = PeerLimits(connect_s=1.0, silent_s=2.5, reap_every_s=0.1)


class Stream:
    """Numbered chunks through pacer, encoder and peers."""

    def __init__(self, limits=QUICK, policy=CandidatePolicy("127.0.0.1"), codec: Codec = "vp8") -> None:  # noqa: B008 - frozen
        self.metrics = Counted()
        self.settings = VideoSettings(height=SIZE, width=SIZE, fps=FPS, codec=codec)
        self.broadcaster = Broadcaster(self.settings, self.metrics)
        self.second = Broadcaster(replace(self.settings, codec="h264"), self.metrics)
        self.sink = PacedSink([self.broadcaster, self.second], FPS, placeholder(SIZE, SIZE), self.metrics)
        more: dict[Codec, Broadcaster] = {"h264": self.second}
        self.peers = WhepPeers(
            self.broadcaster, codec, limits, policy, self.metrics, more=more if codec == "vp8" else {}
        )
        self._chunks = NumberedChunks(self.sink)

    @contextlib.asynccontextmanager
    async def running(self):
        self.peers.start()
        self._chunks.start()
        try:
            yield self
        finally:
            self._chunks.stop()
            await self.peers.close_all()
            self.sink.close()

    async def join(self, codec: str | None = None) -> tuple[Client, str]:
        client = Client(read_number, codec=codec)
        try:
            viewer_id, answer = await self.peers.offer(await client.offer())
        except RequestError:
            await client.close()
            raise
        await client.take(answer)
        return client, viewer_id

    async def until(self, predicate, seconds=120.0) -> None:
        async with asyncio.timeout(seconds):
            while not predicate():
                await asyncio.sleep(0.02)


def play(scene, **options):
    async def run():
        async with Stream(**options).running() as stream:
            return await scene(stream)

    return asyncio.run(run())


def steps(numbers):
    return [b - a for a, b in itertools.pairwise(numbers)]


@pytest.mark.parametrize("codec", ["vp8", "h264"])
def test_a_viewer_sees_every_frame_in_order(codec):
    async def scene(stream):
        client, _ = await stream.join()
        await client.wait_frames(40)
        await client.close()
        return client.numbers

    numbers = play(scene, codec=codec)
    assert steps(numbers).count(1) == len(numbers) - 1, numbers


def test_eight_viewers_see_the_same_stream():
    async def scene(stream):
        clients = [(await stream.join())[0] for _ in range(8)]
        await asyncio.gather(*(client.wait_frames(30) for client in clients))
        assert stream.peers.count == 8
        for client in clients:
            await client.close()
        return [client.numbers for client in clients]

    for numbers in play(scene):
        assert steps(numbers).count(1) == len(numbers) - 1, numbers


def test_a_viewer_that_reads_nothing_costs_the_others_no_frame():
    async def scene(stream):
        *others, deaf = [(await stream.join())[0] for _ in range(8)]
        await asyncio.gather(*(client.wait_frames(5) for client in (*others, deaf)))
        deaf.deafen()
        await asyncio.sleep(0)
        heard = len(deaf.numbers)
        await asyncio.gather(*(client.wait_frames(60) for client in others))
        assert len(deaf.numbers) < heard + 10  # what it had taken already
        for client in (*others, deaf):
            await client.close()
        return [client.numbers for client in others]

    for numbers in play(scene):
        assert steps(numbers).count(1) == len(numbers) - 1, numbers


def test_one_viewer_too_many_is_told_so():
    async def scene(stream):
        first, viewer_id = await stream.join()
        with pytest.raises(RequestError, match="all 1 viewer places") as refused:
            await stream.join()
        assert refused.value.status == 503
        assert await stream.peers.close(viewer_id)
        second, _ = await stream.join()
        await second.wait_frames(1)
        for client in (first, second):
            await client.close()

    play(scene, limits=replace(QUICK, viewers=1))


def test_a_viewer_that_vanished_is_let_go():
    async def scene(stream):
        client, _ = await stream.join()
        await client.wait_frames(5)
        await client.vanish()
        assert stream.peers.count == 1
        await stream.until(lambda: stream.peers.count == 0)
        assert stream.metrics.viewer_counts == [1, 0]
        assert not stream.broadcaster._queues

    play(scene)


def test_a_viewer_that_never_connects_is_let_go():
    async def scene(stream):
        client = Client(read_number)
        await stream.peers.offer(await client.offer())
        await stream.until(lambda: stream.peers.count == 0)
        await client.close()

    play(scene)


def test_a_viewer_that_watches_stays():
    async def scene(stream):
        client, _ = await stream.join()
        await client.wait_frames(int(FPS * (QUICK.silent_s + 2)))
        assert stream.peers.count == 1
        await client.close()
        await stream.until(lambda: stream.peers.count == 0)

    play(scene)


def test_closing_twice_and_closing_a_stranger_do_no_harm():
    async def scene(stream):
        client, viewer_id = await stream.join()
        assert await stream.peers.close(viewer_id)
        assert not await stream.peers.close(viewer_id)
        assert not await stream.peers.close("nobody")
        await client.close()

    play(scene)


def test_a_viewer_whose_connection_ended_before_its_request_to_leave_came_is_told_that_it_has_left():
    async def scene(stream):
        client, viewer_id = await stream.join()
        await client.wait_frames(1)
        await client.close()
        await stream.until(lambda: stream.peers.count == 0)
        assert await stream.peers.close(viewer_id)
        assert not await stream.peers.close(viewer_id)

    play(scene)


def test_on_a_loopback_bind_the_machine_s_own_addresses_are_offered():
    async def scene(stream):
        client = Client(read_number)
        _, answer = await stream.peers.offer(await client.offer())
        await client.close()
        return answer

    hosts = {line.split()[4] for line in play(scene).splitlines() if line.startswith("a=candidate:")}
    assert hosts == {"127.0.0.1", *get_host_addresses(use_ipv4=True, use_ipv6=True)}


@pytest.mark.parametrize("host", get_host_addresses(use_ipv4=True, use_ipv6=True))
def test_on_a_loopback_bind_a_viewer_without_loopback_watches(host):
    """As Firefox: it has candidates on the machine's other addresses only, and hides them behind names."""

    async def scene(stream):
        client = Client(read_number, [host])
        offer = (await client.offer()).replace(f" {host} ", " 4711-hidden.local ")
        _, answer = await stream.peers.offer(offer)
        await client.take("".join(line for line in answer.splitlines(True) if " 127.0.0.1 " not in line))
        await client.wait_frames(3)
        await client.close()

    play(scene)


def test_a_viewer_whose_candidates_are_all_refused_is_found_by_its_own_checks():
    """That is how a browser arrives that hides its address behind a name."""

    async def scene(stream):
        client = Client(read_number)
        offer = (await client.offer()).replace(" 127.0.0.1 ", " 4711-hidden.local ")
        _, answer = await stream.peers.offer(offer)
        await client.take(answer)
        await client.wait_frames(3)
        await client.close()

    play(scene)


def mutations(offer: str) -> dict[str, str]:
    return {
        "no fingerprint": "\r\n".join(line for line in offer.splitlines() if "fingerprint" not in line),
        "no credentials": "\r\n".join(line for line in offer.splitlines() if "ice-" not in line),
        "cut in the middle": offer[: len(offer) // 2],
        "no codec of ours": offer.replace("VP8", "XX8"),
        "bad payload type": offer.replace("a=rtpmap:97", "a=rtpmap:x"),
        "bad port": offer.replace("m=video ", "m=video x"),
        "bad group": offer.replace("a=group:BUNDLE", "a=group:BUNDLE 9 9 9"),
        "bad mid": offer.replace("a=mid:", "a=mod:"),
        "version only": "v=0\r\nm=video",
    }


@pytest.mark.parametrize("name", sorted(mutations("")))
def test_an_offer_that_makes_no_sense_is_refused_or_dropped_and_leaves_nothing_behind(name):
    """Some of them aiortc can answer; then the viewer never connects and goes the way of such viewers."""

    async def scene(stream):
        client = Client(read_number)
        offer = mutations(await client.offer())[name]
        error = (await asyncio.gather(stream.peers.offer(offer), return_exceptions=True))[0]
        assert isinstance(error, tuple) or (type(error) is RequestError and error.status == 400), error
        assert "\n" not in str(error) or isinstance(error, tuple)
        await stream.until(lambda: stream.peers.count == 0)
        await client.close()

    play(scene)


def test_a_viewers_reports_say_how_far_away_it_is():
    async def scene(stream):
        client, _ = await stream.join()
        registry = stream.metrics.registry
        await stream.until(lambda: registry.get_sample_value("pp1_viewer_rtt_seconds_count"))
        await client.close()
        sent, lost = (
            registry.get_sample_value("pp1_viewer_packets_total", {"outcome": outcome}) for outcome in ("sent", "lost")
        )
        return registry.get_sample_value("pp1_viewer_rtt_seconds_sum"), sent, lost

    rtt_s, sent, lost = play(scene)
    assert 0 <= rtt_s < 60
    assert sent > 0
    assert lost >= 0
