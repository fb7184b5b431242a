"""Keyframes are dear for everybody: a hundred requests a second get one. Encoders may share a picture."""

import asyncio
import subprocess
import sys
import textwrap

from pp1_orchestrator.media.broadcast import Broadcaster
from pp1_orchestrator.media.settings import VideoSettings
from tests.media.source import SIZE, Counted, numbered

FPS, SECONDS = 24, 20
SHARED = """
    import threading
    from pp1_orchestrator.media.encoder import LiveEncoder
    from pp1_orchestrator.media.frames import to_yuv420p
    from pp1_orchestrator.media.settings import VideoSettings
    from tests.media.source import SIZE, numbered

    pictures = [numbered(n) for n in range(200)]
    together = threading.Barrier(4)

    def encode(codec):
        encoder = LiveEncoder(VideoSettings(SIZE, SIZE, 24, codec=codec))
        for n, rgb in enumerate(pictures):
            together.wait()
            assert encoder.encode(to_yuv420p(rgb), n / 24, keyframe=n % 7 == 0)

    threads = [threading.Thread(target=encode, args=(codec,)) for codec in ("vp8", "vp8", "h264", "h264")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("done")
"""


def test_a_storm_of_requests_is_one_keyframe_a_second_for_all():
    async def scene():
        broadcaster = Broadcaster(VideoSettings(SIZE, SIZE, FPS, keyframe_every_s=100), Counted())
        storming, other = broadcaster.subscribe(FPS * SECONDS), broadcaster.subscribe(FPS * SECONDS)
        for n in range(FPS * SECONDS):
            for _ in range(5):
                broadcaster.request_keyframe()
            broadcaster.present(numbered(n), n / FPS)
        await asyncio.sleep(0)
        return [[await queue.get() for _ in range(len(queue))] for queue in (storming, other)]

    for packets in asyncio.run(scene()):
        assert len(packets) == FPS * SECONDS
        assert [n for n, packet in enumerate(packets) if packet and packet.is_keyframe] == list(
            range(0, FPS * SECONDS, FPS)
        )


def test_encoders_that_share_a_picture_do_not_disturb_each_other():
    """In a process of its own: what goes wrong here ends a process."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(SHARED)], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
