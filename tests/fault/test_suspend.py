"""Everything is stopped for a while and goes on, as when a machine sleeps: nobody is blamed, and the stream goes on."""

import asyncio
import contextlib
import itertools
import re
import signal
import time

import pytest
from aiortc.mediastreams import MediaStreamError

from benchmarks.chaos.watcher import Watcher
from pp1_orchestrator.media.media_settings import CLOCK_RATE, PeerLimits
from pp1_orchestrator.polling_thread import SUSPEND_THRESHOLD_S, SuspendDetector
from pp1_orchestrator.transport.response_timer import ResponseTimer
from tests.fault.test_clock_jumps import BURST
from tests.media.numbered_frames import read_number
from tests.media.test_whep import FPS, Stream
from tests.media.whep_client import Client
from tests.system.program import running
from tests.timing import scaled

PROMPT = "a yellow circle moving down on a blue background"
STOPPED_S = 6.0
ALLOWED_S = 1.5
"""For an answer and for decoding, or ten times what they take: the stop alone would use it up."""
CHUNK_S = 4.0
BEFORE, AFTER = 24, 60
CHOICES = (
    "layout=cpu", "layout.mesh_ranks=2", "stream.height=64", "stream.width=64", "run.restarts=3",
    f"deadlines.answer={ALLOWED_S}", f"deadlines.decode={ALLOWED_S}", f"deadlines.loop={ALLOWED_S}",
    f"deadlines.chunk={CHUNK_S}", "debug.mesh_s=0.3",
)  # fmt: skip
"""With a mesh that is slow enough for rank 0 to be waiting for it at most times."""


class Timed(Client):
    """numbers: of each decoded picture the seconds that the sender gave it. When it comes depends on this machine."""

    async def _read_all(self, track) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                self.numbers.append(frame.pts / CLOCK_RATE)


def told_restarts(program) -> float:
    found = re.findall(r"^pp1_mesh_restarts_total\{.*\} (\S+)$", program.get("/metrics")[1], re.M)
    return sum(map(float, found))


def stop_for(program, seconds: float) -> float:
    """All of its processes; the monotonic seconds when they go on."""
    family = program.family()
    assert len(family) > 3
    for process in family:
        process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    for process in reversed(family):
        process.send_signal(signal.SIGCONT)
    return time.monotonic()


@pytest.mark.slow
def test_a_program_that_was_stopped_goes_on_as_if_nothing_had_been(tmp_path):
    with running(*CHOICES, out=tmp_path / "out") as program:
        program.wait_until_ready()
        program.post("/api/prompt", {"prompt": PROMPT})
        program.wait_until(lambda: program.state()["prompt"] == PROMPT)
        with contextlib.closing(Watcher(f"http://127.0.0.1:{program.port}", lambda: Timed(None))) as viewer:
            program.wait_until(lambda: len(viewer.frames) > BEFORE)
            before = program.state()
            on_s = stop_for(program, STOPPED_S)
            seen = len(viewer.frames)
            program.wait_until_ready()
            program.wait_until(lambda: program.state()["chunk"] > before["chunk"])
            assert time.monotonic() - on_s < scaled(CHUNK_S)
            program.wait_until(lambda: len(viewer.frames) > seen + AFTER)
            assert viewer.connected
            sent, after = list(viewer.frames), program.state()
        assert told_restarts(program) == 0
        for what in ("hangs", "blocked", "is gone"):
            assert what not in program.log
    assert [after[key] for key in ("prompt", "epoch", "state")] == [PROMPT, before["epoch"], "ready"]
    assert [rank["pid"] for rank in after["ranks"].values()] == [rank["pid"] for rank in before["ranks"].values()]
    assert all(b > a for a, b in itertools.pairwise(sent))
    assert max(b - a for a, b in itertools.pairwise(sent)) > STOPPED_S - 1
    for i, j in itertools.combinations(range(seen, len(sent), 4), 2):
        assert j - i <= (sent[j] - sent[i]) * FPS + BURST


def test_a_viewer_is_not_let_go_for_what_could_not_be_heard():
    limits = PeerLimits(silent_s=2.0, rest_s=1.9, reap_every_s=0.05)

    async def scene():
        async with Stream(limits=limits).running() as stream:
            client = Client(read_number)
            _, answer = await stream.peers.offer(await client.offer())
            await client.take(answer)
            await client.wait_frames(FPS)
            time.sleep(limits.silent_s + 0.5)
            seen = len(client.numbers)
            await client.wait_frames(seen + 2 * FPS)
            assert stream.peers.count == 1
            await client.close()

    asyncio.run(scene())


def test_a_wait_does_not_count_what_its_watcher_missed_as_well():
    clock = ResponseTimer(usual_s=2.0, longest_s=2.0, warm=0)
    with clock.timed():
        start = time.monotonic()
        detector = SuspendDetector(0.1, start)
        assert detector.suspended_s(start + 0.1 + SUSPEND_THRESHOLD_S / 2) == 0
        clock.exclude(detector.suspended_s(start + 30))
        assert clock.overdue(start + 30) is None
        overdue = clock.overdue(start + 32)
        assert overdue is not None
        assert 2 <= overdue.waited_s < 3
    with clock.timed():
        assert clock.overdue(time.monotonic() + 2) is not None
