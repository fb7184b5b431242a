"""Packets as messages: their format, how far ahead of a viewer the server goes, and the limits shared with WebRTC."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.media.broadcaster import Broadcaster
from pp1_orchestrator.media.media_settings import PeerLimits, VideoSettings
from pp1_orchestrator.media.socket_viewers import HEADER, KEYFRAME, REPORT, SocketViewers
from tests.media.numbered_frames import SIZE, Counted, numbered, read_number
from tests.media.test_broadcaster import decode

VIDEO = VideoSettings(SIZE, SIZE, 16)
ELSEWHERE = "192.0.2.7"


class Scene:
    """A broadcaster, its viewers, and frames that are numbered as they are shown."""

    def __init__(self, others=(), **limits) -> None:
        self.figures = Counted()
        self.broadcaster = Broadcaster(VIDEO, self.figures)
        self.viewers = SocketViewers(
            self.broadcaster, VIDEO, PeerLimits(**limits), self.figures, others=lambda: list(others)
        )
        self.reading: asyncio.Future[None] | None = None
        self._next = 0

    async def show(self, count: int) -> None:
        for _ in range(count):
            self.broadcaster.show(numbered(self._next), self._next / 16)
            self._next += 1
            for _ in range(3):  # to the queue, to the viewer, to its reader
                await asyncio.sleep(0)

    def watch(self, viewer) -> list[bytes]:
        """The messages so far, which grow."""
        got: list[bytes] = []

        async def read() -> None:
            async for message in viewer.messages():
                got.append(message)

        self.reading = asyncio.ensure_future(read())
        return got


def play(scene: Callable[[Scene], Awaitable[None]], **options: Any) -> None:
    """options: of `Scene`. At the end no viewer is left, and nothing is read."""

    async def run() -> None:
        made = Scene(**options)
        await scene(made)
        made.viewers.close_all()
        if made.reading is not None:
            await made.reading

    asyncio.run(run())


def number_of(message: bytes) -> int:
    return HEADER.unpack_from(message)[1]


def test_a_message_is_a_packet_behind_its_flags_number_and_time():
    async def scene(made: Scene) -> None:
        got = made.watch(made.viewers.add("127.0.0.1"))
        await asyncio.sleep(0)
        await made.show(8)
        heads = [HEADER.unpack_from(message) for message in got]
        assert [flags for flags, _, _ in heads] == [KEYFRAME, *[0] * 7]
        assert [number for _, number, _ in heads] == list(range(8))
        assert [time_us for *_, time_us in heads] == [n * 62_500 for n in range(8)]
        assert [read_number(rgb) for rgb in decode([m[HEADER.size :] for m in got], "vp8")] == list(range(8))

    play(scene)


def test_the_first_message_says_what_a_decoder_needs():
    config = Scene().viewers.config()
    assert config == {"type": "config", "codec": "vp8", "width": SIZE, "height": SIZE, "fps": 16}


def test_a_viewer_that_does_not_report_is_sent_little_and_goes_on_at_a_keyframe():
    async def scene(made: Scene) -> None:
        viewer = made.viewers.add("127.0.0.1")
        got = made.watch(viewer)
        await asyncio.sleep(0)
        await made.show(13)
        assert [number_of(message) for message in got] == [0, 1, 2, 3]
        assert made.figures.drops == {"slow_viewer": 8}
        viewer.report(REPORT.pack(3))
        await made.show(20)
        assert [number_of(message) for message in got] == [0, 1, 2, 3, 4, 5, 6, 7]
        assert HEADER.unpack_from(got[4])[0] == KEYFRAME
        assert read_number(decode([got[4][HEADER.size :]], "vp8")[0]) > 12

    play(scene, packets_unreported=4, packets_queued=8)


def test_a_viewer_that_reports_gets_everything():
    async def scene(made: Scene) -> None:
        viewer = made.viewers.add("127.0.0.1")
        got = made.watch(viewer)
        await asyncio.sleep(0)
        for _ in range(20):
            await made.show(2)
            viewer.report(REPORT.pack(number_of(got[-1])))
        assert [number_of(message) for message in got] == list(range(40))

    play(scene, packets_unreported=4)


def test_for_a_viewer_that_keeps_silent_nothing_is_encoded_until_it_reports():
    async def scene(made: Scene) -> None:
        viewer = made.viewers.add("127.0.0.1")
        got = made.watch(viewer)
        await asyncio.sleep(0)
        await made.show(3)
        async with asyncio.timeout(60):
            while made.broadcaster._queues:
                await asyncio.sleep(0.01)
        viewer.report(REPORT.pack(1))
        async with asyncio.timeout(60):
            while not made.broadcaster._queues:
                await asyncio.sleep(0.01)
        await made.show(20)
        assert HEADER.unpack_from(got[2])[0] == KEYFRAME

    play(scene, packets_unreported=2, rest_s=0.0)


@pytest.mark.parametrize("message", [b"", b"hello", REPORT.pack(1), REPORT.pack(7), REPORT.pack(2**32 - 1)])
def test_a_report_of_what_was_not_sent_is_refused(message):
    async def scene(made: Scene) -> None:
        viewer = made.viewers.add("127.0.0.1")
        made.watch(viewer)
        await asyncio.sleep(0)
        await made.show(1)
        with pytest.raises(RequestError, match="report"):
            viewer.report(message)
        viewer.report(REPORT.pack(0))

    play(scene)


def test_the_places_are_shared_with_viewers_that_come_another_way():
    async def scene(made: Scene) -> None:
        made.viewers.add(ELSEWHERE)
        with pytest.raises(RequestError, match="all 2 viewer places of one address are taken"):
            made.viewers.add(ELSEWHERE)
        last = made.viewers.add("127.0.0.1")
        with pytest.raises(RequestError, match="all 4 viewer places are taken") as refused:
            made.viewers.add("127.0.0.1")
        assert refused.value.status == 503
        assert made.figures.limits == ["address", "viewers"]
        made.viewers.remove(last)
        made.viewers.add("127.0.0.1")
        assert made.viewers.addresses == [ELSEWHERE, "127.0.0.1"]

    play(scene, others=["127.0.0.1", ELSEWHERE], viewers=4, viewers_per_address=2)
