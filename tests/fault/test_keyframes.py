"""Keyframes are dear for everybody: a hundred requests a second get one. Encoders may share a picture."""

import asyncio
import subprocess
import sys

from pp1_orchestrator.media.broadcaster import Broadcaster
from pp1_orchestrator.media.media_settings import VideoSettings
from tests.media.numbered_frames import SIZE, Counted, numbered, subscribe

FPS, SECONDS = 24, 20
SHARED_S = 2.5


def test_a_storm_of_requests_is_one_keyframe_a_second_for_all():
    async def scene():
        broadcaster = Broadcaster(VideoSettings(SIZE, SIZE, FPS, keyframe_every_s=100), Counted())
        storming, other = subscribe(broadcaster, FPS * SECONDS), subscribe(broadcaster, FPS * SECONDS)
        for n in range(FPS * SECONDS):
            for _ in range(5):
                broadcaster.request_keyframe()
            broadcaster.show(numbered(n), n / FPS)
        await asyncio.sleep(0)
        return [[await queue.get() for _ in range(len(queue))] for queue in (storming, other)]

    for packets in asyncio.run(scene()):
        assert len(packets) == FPS * SECONDS
        assert [n for n, packet in enumerate(packets) if packet and packet.is_keyframe] == list(
            range(0, FPS * SECONDS, FPS)
        )


def test_encoders_that_share_a_picture_do_not_disturb_each_other():
    """In a process of its own: what goes wrong here ends a process. Ten minutes of it are run by hand."""
    command = [sys.executable, "-m", "benchmarks.shared_frames", "--minutes", str(SHARED_S / 60), "--fps", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 encoders, " in done.stdout
