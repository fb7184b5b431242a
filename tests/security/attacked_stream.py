"""A stream with a viewer to attack and another one, which must not notice."""

import asyncio
import contextlib
import itertools

from pp1_orchestrator.media.aiortc_patches import ice_connection
from tests.fault.loop_delay import LoopDelay
from tests.media.test_whep import FPS, play, steps
from tests.timing import stopwatch

GAP_S, DELAY_S = 0.25, 0.1
"""Between two frames of another viewer, and of the event loop that answers `/healthz`; on an idle machine."""
FEW = 5


def server_side(stream, viewer_id):
    """Of a viewer: the sender and the transport that serve it, and its ICE connection."""
    viewer, _ = stream.peers._viewers[viewer_id]
    sender = viewer._transceiver.sender
    return sender, sender.transport, ice_connection(sender.transport)


def port_of(connection) -> int:
    return connection._protocols[0].local_candidate.port


class Watched:
    """An attacked viewer and another one, who both watch already."""

    def __init__(self, stream, victim, victim_id, other) -> None:
        self.stream, self.victim, self.other = stream, victim, other
        self.sender, self.transport, self.connection = server_side(stream, victim_id)
        self.victim_id = victim_id

    @contextlib.asynccontextmanager
    async def undisturbed(self):
        """Until the other viewer has seen some seconds of the attack: no frame lost, and nobody waited."""
        start = len(self.other.numbers)
        with stopwatch() as watch:
            async with LoopDelay().measured() as delay:
                yield
                await self.other.wait_frames(start + 2 * FPS)
        seen, at_s = self.other.numbers[start:], self.other.at_s[start:]
        assert steps(seen).count(1) == len(seen) - 1, seen
        assert max(b - a for a, b in itertools.pairwise(at_s)) <= GAP_S * watch.scale
        assert delay.quantile(0.99) <= DELAY_S * watch.scale

    async def still_watches(self) -> None:
        assert self.transport.state == "connected"
        await self.victim.wait_frames(len(self.victim.numbers) + FEW)


def attack(scene, **options):
    """Play `scene` with a viewer to attack and another one."""

    async def staged(stream):
        victim, victim_id = await stream.join()
        other, _ = await stream.join()
        try:
            await asyncio.gather(victim.wait_frames(FEW), other.wait_frames(FEW))
            return await scene(Watched(stream, victim, victim_id, other))
        finally:
            await victim.close()
            await other.close()

    return play(staged, **options)
