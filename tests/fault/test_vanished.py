"""A viewer that is gone without a word is let go, with the limits that the program ships."""

import asyncio
import contextlib
import itertools
import json
import signal
import sys
import time
from pathlib import Path

import pytest

from pp1_orchestrator.media.media_settings import PeerLimits
from pp1_orchestrator.media.peer import CLOSE_S
from tests.media.test_whep import FPS, Stream
from tests.timing import scaled

GONE_S, ENCODED_S = 15, 5
"""On an idle machine."""
WAIT_S, STEADY_S = 120, 0.5
SKIPPED = 3
ROOT = Path(__file__).resolve().parents[2]


@contextlib.asynccontextmanager
async def viewer_process(stream: Stream):
    """A viewer in a process of its own that has seen some pictures."""
    command = [sys.executable, "-m", "tests.media.viewer_process"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=ROOT, limit=2**20)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        _, answer = await stream.peers.offer(json.loads(await process.stdout.readline()))
        process.stdin.write(f"{json.dumps(answer)}\n".encode())
        for _ in range(5):
            assert isinstance(json.loads(await process.stdout.readline()), int)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def read_until_skip(process) -> None:
    """Until some pictures in a row were not shown."""
    number = json.loads(await process.stdout.readline())
    while (following := json.loads(await process.stdout.readline())) <= number + SKIPPED:
        number = following


def sent(stream: Stream) -> int:
    """Packets of pictures that have left for the only viewer."""
    [(viewer, _)] = stream.peers._viewers.values()
    [transceiver] = viewer._connection.getTransceivers()
    return getattr(transceiver.sender, "_RTCRtpSender__packet_count")  # noqa: B009 - it has no other name


def encoded(stream: Stream) -> int | None:
    """The last frame's time; None when the encoder is closed because nobody watches."""
    encoder = stream.broadcaster._encoder
    return None if encoder is None else encoder._pts


def test_the_shipped_limits_allow_no_more():
    limits = PeerLimits()
    assert max(limits.silent_s, limits.connect_s) + limits.reap_every_s + CLOSE_S < GONE_S
    assert limits.rest_s + limits.reap_every_s < ENCODED_S


@pytest.mark.slow
def test_nothing_is_encoded_or_sent_for_a_killed_viewer_and_then_it_is_let_go():
    async def scene():
        async with Stream(limits=PeerLimits()).running() as stream, viewer_process(stream) as process:
            process.send_signal(signal.SIGKILL)
            start = time.monotonic()
            await stream.until(lambda: not stream.broadcaster._queues, seconds=WAIT_S)
            rested_s = time.monotonic() - start
            before = None
            while before != (encoded(stream), sent(stream)):  # until what was on its way has come
                before = (encoded(stream), sent(stream))
                await asyncio.sleep(STEADY_S)
            assert stream.peers.count == 1
            await stream.until(lambda: stream.peers.count == 0, seconds=WAIT_S)
            return rested_s, time.monotonic() - start

    rested_s, gone_s = asyncio.run(scene())
    assert rested_s <= scaled(ENCODED_S)
    assert gone_s <= scaled(GONE_S)


def test_a_viewer_that_was_only_silent_goes_on_where_the_stream_is():
    """Stopped for longer than it takes to be given nothing, and not long enough to be let go."""
    limits = PeerLimits(rest_s=1.5, reap_every_s=0.1)

    async def scene():
        async with Stream(limits=limits).running() as stream, viewer_process(stream) as process:
            process.send_signal(signal.SIGSTOP)
            await stream.until(lambda: not stream.broadcaster._queues)
            await asyncio.sleep(0.5)
            process.send_signal(signal.SIGCONT)
            assert process.stdout is not None
            async with asyncio.timeout(WAIT_S):
                await read_until_skip(process)
                after = [json.loads(await process.stdout.readline()) for _ in range(FPS)]
            assert stream.peers.count == 1
            return after

    after = asyncio.run(scene())
    assert [b - a for a, b in itertools.pairwise(after)] == [1] * (FPS - 1)
