"""Numbered chunks through the pacer and a real media process, with viewers and what is heard of it."""

import asyncio
import contextlib
import os

import psutil

from pp1_orchestrator.event_bus import EventBus
from pp1_orchestrator.media.frames import placeholder
from pp1_orchestrator.media.loopback import LOOPBACK
from pp1_orchestrator.media.media_settings import PeerLimits, VideoSettings
from pp1_orchestrator.media.pacer import PacedSink
from pp1_orchestrator.media.sdp import CandidatePolicy
from pp1_orchestrator.media_process.control_messages import Start
from pp1_orchestrator.supervision.media_supervisor import MediaRules, MediaSupervisor
from tests.media.numbered_frames import SIZE, Counted, NumberedChunks, read_number
from tests.media.whep_client import Client

FPS = 24
WAIT_S = 120
RULES = MediaRules(start_s=60, silent_s=20, restarts=5, wait_s=60)


class MediaStream:
    """Belongs to an event loop."""

    def __init__(self, rules=RULES, limits: PeerLimits | None = None) -> None:
        self.metrics, self.events = Counted(), EventBus()
        self._heard, self._subscription = [], self.events.subscribe(lambda: None)
        start = Start(VideoSettings(SIZE, SIZE, FPS), limits or PeerLimits(), CandidatePolicy(LOOPBACK))
        self.media = MediaSupervisor(start, rules, self.metrics, self.events)
        self.sink = PacedSink([self.media.broadcaster], FPS, placeholder(SIZE, SIZE), self.metrics)
        self._chunks = NumberedChunks(self.sink)

    @contextlib.asynccontextmanager
    async def running(self):
        self.media.start()
        self._chunks.start()
        try:
            yield self
        finally:
            self._chunks.stop()
            await self.media.close_all()
            self.sink.close()

    async def join(self) -> tuple[Client, str]:
        """A viewer that has an answer."""
        client = Client(read_number)
        try:
            viewer_id, answer = await self.media.offer(await client.offer(), LOOPBACK)
            await client.take(answer)
        except BaseException:
            await client.close()
            raise
        return client, viewer_id

    async def watch(self, frames: int = 5) -> None:
        """A viewer comes, sees some frames in order, and leaves. A busy machine may have dropped some."""
        client, viewer_id = await self.join()
        await client.wait_frames(frames)
        await self.media.close(viewer_id)
        await client.close()
        assert client.numbers == sorted(set(client.numbers))

    async def up(self) -> int:
        """Wait for a media process; its pid."""
        await self.until(lambda: self.media.pid is not None)
        assert self.media.pid is not None
        return self.media.pid

    async def kill(self, number: int) -> None:
        """Send a signal to the media process, and wait until another one is up."""
        pid = await self.up()
        os.kill(pid, number)
        await self.until(lambda: self.media.pid not in (pid, None))
        assert not psutil.pid_exists(pid)

    @property
    def chunks(self) -> int:
        """How many were made."""
        return self._chunks.made

    async def until(self, condition) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                await asyncio.sleep(0.01)

    def heard(self) -> list[tuple[str, str | None]]:
        """State and reason of each event of the media process."""
        self._heard += [(e["state"], e["reason"]) for e in self._subscription.drain() if e["event"] == "media"]
        return self._heard

    def sample(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


def play(scene, **options):
    async def run():
        async with MediaStream(**options).running() as stream:
            return await scene(stream)

    return asyncio.run(run())
