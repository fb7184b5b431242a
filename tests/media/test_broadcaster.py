"""Encoding once and fanning out, without WebRTC: packets are decoded again with the ordinary decoder."""

import asyncio
import threading

import av
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext

from pp1_orchestrator.media.broadcaster import Broadcaster, PacketQueue
from pp1_orchestrator.media.encoder import CODECS, LiveEncoder
from pp1_orchestrator.media.frames import to_yuv420p
from pp1_orchestrator.media.media_settings import Codec, VideoSettings
from tests.media.numbered_frames import SIZE, Counted, numbered, read_number, subscribe, unsubscribe


def video(codec: Codec = "vp8", **options) -> VideoSettings:
    return VideoSettings(height=SIZE, width=SIZE, fps=16, codec=codec, **options)


def decode(packets, codec) -> list[np.ndarray]:
    decoder = VideoCodecContext.create(codec, "r")
    assert isinstance(decoder, VideoCodecContext)
    frames = [frame for packet in packets for frame in decoder.decode(av.Packet(bytes(packet)))]
    return [frame.to_ndarray(format="rgb24") for frame in [*frames, *decoder.decode(None)]]


def encode(encoder, numbers, keyframes=()) -> list[av.Packet]:
    return [p for n in numbers for p in encoder.encode(to_yuv420p(numbered(n)), n / 16, keyframe=n in keyframes)]


@pytest.mark.parametrize("codec", sorted(CODECS))
class TestEncoder:
    def test_every_frame_is_a_packet_at_once_and_decodes_to_itself(self, codec):
        encoder = LiveEncoder(video(codec))
        packets = []
        for number in range(40):
            made = encode(encoder, [number])
            assert len(made) == 1
            packets += made
        assert [read_number(rgb) for rgb in decode(packets, codec)] == list(range(40))

    def test_timestamps_are_90_khz_and_grow_even_when_times_do_not(self, codec):
        encoder = LiveEncoder(video(codec))
        frame = to_yuv420p(numbered(1))
        stamps = [encoder.encode(frame, at, False)[0].pts for at in (1.0, 1.0625, 1.0625, 2.0)]
        assert stamps == [90_000, 95_625, 95_626, 180_000]

    def test_a_keyframe_comes_when_asked_for_and_stands_alone(self, codec):
        encoder = LiveEncoder(video(codec))
        packets = encode(encoder, range(20), keyframes={7})
        assert [i for i, p in enumerate(packets) if p.is_keyframe] == [0, 7]
        assert [read_number(rgb) for rgb in decode(packets[7:], codec)] == list(range(7, 20))

    def test_keyframes_come_by_themselves_as_often_as_set(self, codec):
        packets = encode(LiveEncoder(video(codec, keyframe_every_s=0.5)), range(33))
        assert [i for i, p in enumerate(packets) if p.is_keyframe] == [0, 8, 16, 24, 32]

    def test_colours_survive(self, codec):
        red, green = np.zeros((2, SIZE, SIZE, 3), dtype=np.uint8)
        red[:], green[:] = (220, 40, 40), (40, 180, 70)
        encoder = LiveEncoder(video(codec))
        packets = [p for i, rgb in enumerate((red, green)) for p in encoder.encode(to_yuv420p(rgb), i / 16, False)]
        for rgb, decoded in zip((red, green), decode(packets, codec), strict=True):
            assert np.abs(decoded.astype(int) - rgb).mean() < 6


def packets_of(numbers, keyframes=()):
    return encode(LiveEncoder(video()), numbers, keyframes)


class TestPacketQueue:
    def test_begins_with_a_keyframe(self):
        queue = PacketQueue(8, lambda count: None)
        for packet in packets_of(range(6), keyframes={3})[1:]:
            queue.push(packet)
        assert len(queue) == 3

    def test_a_full_queue_goes_on_at_the_next_keyframe_and_says_what_it_lost(self):
        lost = []
        queue = PacketQueue(4, lost.append)
        packets = packets_of(range(12), keyframes={8})
        for packet in packets[:7]:
            queue.push(packet)
        assert lost == [4]
        assert queue.needs_keyframe
        assert len(queue) == 0
        for packet in packets[7:]:
            queue.push(packet)
        read = [asyncio.run(queue.get()) for _ in range(4)]
        assert read == packets[8:]

    def test_get_ends_when_closed(self):
        async def scene():
            queue = PacketQueue(4, lambda count: None)
            waiting = asyncio.create_task(queue.get())
            await asyncio.sleep(0)
            queue.close()
            return await waiting

        assert asyncio.run(scene()) is None


def show_all(broadcaster, numbers, at=lambda n: n / 16):
    """From another thread, as the pacer does."""
    thread = threading.Thread(target=lambda: [broadcaster.show(numbered(n), at(n)) for n in numbers])
    thread.start()
    return asyncio.to_thread(thread.join)


def drain(queue):
    return [queue._packets.popleft() for _ in range(len(queue))]


class TestBroadcaster:
    def test_eight_viewers_get_the_same_packets(self):
        async def scene():
            broadcaster = Broadcaster(video(), Counted())
            queues = [subscribe(broadcaster, 64) for _ in range(8)]
            await show_all(broadcaster, range(20))
            await asyncio.sleep(0)
            return [drain(queue) for queue in queues]

        first, *others = asyncio.run(scene())
        assert len(first) == 20
        assert all(len(other) == 20 and all(a is b for a, b in zip(first, other, strict=True)) for other in others)
        assert [read_number(rgb) for rgb in decode(first, "vp8")] == list(range(20))

    def test_nothing_is_encoded_while_nobody_watches(self):
        async def scene():
            metrics = Counted()
            broadcaster = Broadcaster(video(), metrics)
            await show_all(broadcaster, range(5))
            queue = subscribe(broadcaster, 64)
            await show_all(broadcaster, range(5, 8))
            await asyncio.sleep(0)
            unsubscribe(broadcaster, queue)
            await show_all(broadcaster, range(8, 12))
            late = subscribe(broadcaster, 64)
            await show_all(broadcaster, range(24, 26))
            await asyncio.sleep(0)
            encoder = broadcaster._encoder
            assert encoder is not None
            return encoder._pts, drain(late)

        pts, packets = asyncio.run(scene())
        assert pts == round(25 / 16 * 90_000)
        assert len(packets) == 2
        assert packets[0].is_keyframe

    def test_a_late_viewer_and_an_asking_one_get_a_keyframe_but_a_storm_gets_one(self):
        async def scene():
            broadcaster = Broadcaster(video(keyframe_every_s=100, keyframe_throttle_s=0.5), Counted())
            queue = subscribe(broadcaster, 200)
            for n in range(48):
                broadcaster.request_keyframe()
                broadcaster.show(numbered(n), n / 16)
            await asyncio.sleep(0)
            return [i for i, p in enumerate(drain(queue)) if p.is_keyframe]

        assert asyncio.run(scene()) == [0, 8, 16, 24, 32, 40]

    def test_a_slow_viewer_skips_to_a_keyframe_and_others_do_not_notice(self):
        async def scene():
            metrics = Counted()
            broadcaster = Broadcaster(video(keyframe_every_s=100), metrics)
            slow, quick = subscribe(broadcaster, 8), subscribe(broadcaster, 200)
            for n in range(40):
                broadcaster.show(numbered(n), n / 16)
                await asyncio.sleep(0)
            return metrics, drain(slow), drain(quick)

        metrics, slow, quick = asyncio.run(scene())
        assert len(quick) == 40
        assert metrics.drops["slow_viewer"] >= 8
        assert slow[0].is_keyframe
        assert [read_number(rgb) for rgb in decode(slow, "vp8")] == list(range(40))[-len(slow) :]
