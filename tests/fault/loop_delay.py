"""How long an event loop keeps whoever waits for it: sampled beside what is tested."""

import asyncio
import contextlib
import time

TICK_S = 0.005


class LoopDelay:
    """Lateness of a tick, in seconds. A tick that was late by many periods stands for all those that it swallowed."""

    def __init__(self) -> None:
        self._late: list[float] = []

    @contextlib.asynccontextmanager
    async def measured(self):
        task = asyncio.create_task(self._sample())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])

    @property
    def longest(self) -> float:
        return max(self._late)

    def quantile(self, share: float) -> float:
        return sorted(self._late)[int(len(self._late) * share)]

    async def _sample(self) -> None:
        while True:
            start = time.monotonic()
            await asyncio.sleep(TICK_S)
            late = time.monotonic() - start - TICK_S
            while late > 0:
                self._late.append(late)
                late -= TICK_S
