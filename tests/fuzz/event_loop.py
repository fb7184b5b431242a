"""One event loop that lives as long as the process: targets that serve run each input in it.

An exception that nobody fetched, and a task that an input leaves behind, are findings.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from tests.fuzz.oracle import Finding

WAIT_S = 280
TURNS = 10


class PersistentLoop:
    """`run` a coroutine, `settle` until no more than `tasks` of them are left."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(self._failed)
        self._failures: list[dict[str, Any]] = []

    def _failed(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._failures.append(context)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        result = self._loop.run_until_complete(asyncio.wait_for(work, WAIT_S))
        self.check()
        return result

    def check(self) -> None:
        """Raise Finding for what went wrong in a task or callback."""
        if self._failures:
            first, self._failures = self._failures[0], []
            raise Finding(f"{first['message']}: {first.get('exception')!r}") from first.get("exception")

    async def settle(self, tasks: int) -> None:
        """Wait until so many tasks, and the one that waits, are left."""
        for _ in range(TURNS):
            if len(asyncio.all_tasks()) <= tasks + 2:
                return
            await asyncio.sleep(0)
        try:
            async with asyncio.timeout(WAIT_S / 2):
                while len(asyncio.all_tasks()) > tasks + 2:
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise Finding(f"tasks are left: {sorted(str(task.get_coro()) for task in asyncio.all_tasks())}") from None
