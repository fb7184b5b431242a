"""A real media process, and what happens when it fails: viewers come back, and nothing else notices."""

import asyncio
import contextlib
import logging
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.media.broadcaster import PacketQueue
from pp1_orchestrator.media.media_settings import PeerLimits
from pp1_orchestrator.media_process import media_connection
from pp1_orchestrator.media_process.media_connection import MODULE
from tests.media.numbered_frames import read_number
from tests.media.test_broadcaster import decode
from tests.media.whep_client import Client
from tests.media_process import lying_process
from tests.media_process.media_stream import RULES, play
from tests.timing import scaled, stopwatch

BACK_S = 2.0
"""On an idle machine."""


def test_viewers_see_every_frame_in_order_and_are_counted():
    async def scene(stream):
        clients = [await stream.join() for _ in range(3)]
        await asyncio.gather(*(client.wait_frames(24) for client, _ in clients))
        assert stream.media.count == 3
        for client, viewer_id in clients:
            assert await stream.media.close(viewer_id)
            assert not await stream.media.close(viewer_id)
            await client.close()
        assert stream.media.count == 0
        assert stream.metrics.viewer_counts == [1, 2, 3, 2, 1, 0]
        await stream.until(lambda: (stream.sample("pp1_encoded_bytes_total", codec="vp8") or 0) > 0)
        assert (stream.sample("pp1_media_cpu_seconds_total") or 0) > 0
        return [client.numbers for client, _ in clients]

    for numbers in play(scene):
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_refusals_and_limits_are_those_of_the_viewers():
    async def scene(stream):
        with pytest.raises(RequestError) as bad:
            await stream.media.offer("nonsense", "127.0.0.1")
        with pytest.raises(RequestError) as large:
            await stream.media.offer("v=0" * 10_000, "127.0.0.1")
        first, _ = await stream.join()
        await first.wait_frames(1)
        with pytest.raises(RequestError, match="all 1 viewer places are taken") as full:
            await stream.join()
        await stream.until(lambda: stream.metrics.limits == ["viewers"])
        await first.close()
        return [error.value.status for error in (bad, large, full)]

    assert play(scene, limits=PeerLimits(viewers=1)) == [400, 413, 503]


def test_no_frame_is_sent_while_nobody_watches():
    async def scene(stream):
        await stream.up()
        sent = []
        sender = stream.media.broadcaster._sender
        stream.media.broadcaster._sender = type("Seen", (), {"send": lambda _, *frame: sent.append(frame) or True})()
        start = stream.chunks
        await stream.until(lambda: stream.chunks > start + 2)
        assert sent == []
        stream.media.broadcaster._sender = sender
        await stream.watch()

    play(scene)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_process_that_ends_is_replaced_and_the_stream_goes_on(number):
    async def scene(stream):
        client, _ = await stream.join()
        await client.wait_frames(3)
        made = stream.chunks
        with stopwatch() as watch:
            await stream.kill(number)
        assert stream.media.count == 0
        await stream.watch()
        await client.close()
        assert stream.chunks > made
        assert stream.heard() == [("restarting", "death"), ("up", None)]
        assert stream.sample("pp1_media_restarts_total", reason="death") == 1
        assert stream.sample("pp1_media_up") == 1
        return watch

    assert play(scene).within(BACK_S)


def test_a_process_that_hangs_is_replaced():
    async def scene(stream):
        client, _ = await stream.join()
        await client.wait_frames(3)
        await stream.kill(signal.SIGSTOP)
        await stream.watch()
        await client.close()
        assert stream.heard() == [("restarting", "hang"), ("up", None)]
        assert stream.metrics.drops["slow_media"] > 0  # while it hung, the pacer went on without it

    play(scene, rules=replace(RULES, silent_s=2.0))


def test_a_failing_process_ends_in_a_clear_state_and_is_tried_again_later(caplog):
    async def scene(stream):
        pids = set()
        for _ in range(2):
            pid = await stream.up()
            pids.add(pid)
            os.kill(pid, signal.SIGKILL)
            await stream.until(lambda: stream.media.pid is None)
            await stream.until(lambda: stream.media.pid is not None or ("failed", "death") in stream.heard())
        made = stream.chunks
        with pytest.raises(RequestError, match="video restarts") as refused:
            await stream.media.offer("v=0", "127.0.0.1")
        assert refused.value.status == 503
        await stream.until(lambda: stream.chunks > made + 2)
        await stream.up()
        await stream.watch()
        assert stream.heard() == [("restarting", "death"), ("up", None), ("failed", "death"), ("up", None)]
        assert stream.sample("pp1_media_restarts_total", reason="death") == 1
        return pids

    rules = replace(RULES, restarts=1, window_s=scaled(2), pauses_s=(0.0,))
    with caplog.at_level(logging.INFO, "pp1_orchestrator.supervision"):
        pids = play(scene, rules=rules)
    assert len(pids) == 2
    failures = [r.getMessage() for r in caplog.records if "was ended by SIGKILL" in r.getMessage()]
    assert len(failures) == 2
    assert "no restart is left" in failures[-1]


def test_a_process_that_lies_only_costs_its_viewers(monkeypatch):
    monkeypatch.setattr(media_connection, "MODULE", lying_process.__name__)

    async def scene(stream):
        await stream.until(lambda: ("restarting", "error") in stream.heard())
        monkeypatch.setattr(media_connection, "MODULE", MODULE)
        await stream.until(lambda: is_honest(stream.media.pid))
        await stream.watch()

    def is_honest(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            return pid is not None and MODULE in psutil.Process(pid).cmdline()
        return False

    play(scene)


def test_the_next_process_is_started_ahead(monkeypatch):
    monkeypatch.setattr("pp1_orchestrator.supervision.media_supervisor.SPARE_S", 0.0)

    def children():
        return {child.pid for child in psutil.Process().children() if MODULE in child.cmdline()}

    async def scene(stream):
        pid = await stream.up()
        await stream.until(lambda: len(children()) == 2)
        (spare,) = children() - {pid}
        await stream.kill(signal.SIGKILL)
        assert stream.media.pid == spare
        await stream.watch()
        await stream.until(lambda: len(children()) == 2)
        (dead,) = children() - {spare}
        os.kill(dead, signal.SIGKILL)  # nobody needs it yet
        await stream.kill(signal.SIGKILL)
        assert stream.media.pid not in (pid, spare, dead)
        await stream.watch()

    play(scene)
    assert children() == set()


def test_an_offer_waits_for_a_process_that_starts():
    async def scene(stream):
        assert stream.media.pid is None
        await stream.watch()

    play(scene)


def test_a_request_to_a_process_that_goes_away_is_refused():
    async def scene(stream):
        pid = await stream.up()
        os.kill(pid, signal.SIGSTOP)
        waiting = asyncio.create_task(stream.media.offer("v=0", "127.0.0.1"))
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(RequestError, match="video restarts"):
            await waiting

    play(scene)


async def next_of(queue: PacketQueue) -> Any:
    packet = await queue.get()
    assert packet is not None
    return packet


def test_the_encoded_packets_come_to_subscribers_here_and_go_on_after_a_restart():
    async def scene(stream):
        await stream.up()
        broadcaster = stream.media.broadcaster
        queue = PacketQueue(200, broadcaster.on_overflow)
        broadcaster.resume(queue)
        packets = [await next_of(queue) for _ in range(12)]
        assert packets[0].is_keyframe
        late = PacketQueue(200, broadcaster.on_overflow)
        broadcaster.resume(late)
        assert (await next_of(late)).is_keyframe
        broadcaster.pause(late)
        await stream.kill(signal.SIGKILL)
        while not (packet := await next_of(queue)).is_keyframe or packet.pts <= packets[-1].pts:
            packets.append(packet)
        broadcaster.pause(queue)
        await stream.until(lambda: not broadcaster.watched)  # nothing is encoded when nobody wants packets
        return packets[:12]

    packets = play(scene)
    stamps = [packet.pts for packet in packets]
    assert stamps == sorted(set(stamps))
    numbers = [read_number(rgb) for rgb in decode(packets, "vp8")]
    assert numbers == list(range(numbers[0], numbers[0] + 12))


def test_its_log_lines_are_written_here(caplog):
    async def scene(stream):
        client = Client(read_number)
        offer = (await client.offer()).replace("VP8", "XX8").replace("H264", "XX64")
        with pytest.raises(RequestError):
            await stream.media.offer(offer, "127.0.0.1")
        await client.close()
        return stream.media.pid

    with caplog.at_level(logging.INFO):
        pid = play(scene)
    (refused,) = [r for r in caplog.records if r.getMessage().startswith("an offer was refused: ")]
    assert (refused.name, refused.process, refused.levelname) == ("pp1_orchestrator.media.whep", pid, "INFO")


def test_the_process_is_small_and_nothing_is_left_of_it(monkeypatch):
    monkeypatch.setenv("PP1_TOKEN", "not-for-strangers")

    async def scene(stream):
        pid = await stream.up()
        maps = Path(f"/proc/{pid}/maps").read_text()
        assert "libtorch" not in maps
        assert "not-for-strangers" not in Path(f"/proc/{pid}/environ").read_text()
        assert psutil.Process(pid).net_connections("inet") == []
        os.kill(pid, signal.SIGINT)  # Ctrl-C reaches the whole process group
        await stream.watch()
        assert stream.media.pid == pid
        return pid

    before = set(Path("/dev/shm").iterdir())
    pid = play(scene)
    assert not psutil.pid_exists(pid)
    assert not [path for path in set(Path("/dev/shm").iterdir()) - before if "pp1" in path.name]
    assert not [child for child in psutil.Process().children() if "media_process" in " ".join(child.cmdline())]
