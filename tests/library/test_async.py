"""A stream in an event loop: the loop goes on meanwhile, and nothing is lost where a wait is cancelled."""

import asyncio
import contextlib
import time

import pytest

from pp1_orchestrator import Chunk, Stream
from pp1_orchestrator.errors import RequestError
from tests.library.test_live_stream import LIMIT_S, PROMPT, small

TICK_S = 0.01


async def count_ticks(ticks: list[float]) -> None:
    while True:
        ticks.append(time.monotonic())
        await asyncio.sleep(TICK_S)


def test_the_loop_goes_on_while_chunks_are_made():
    async def main() -> None:
        ticks: list[float] = []
        ticker = asyncio.create_task(count_ticks(ticks))
        async with Stream(small("run.chunks=4")) as stream:
            opened = len(ticks)
            receipt = stream.update_prompt(PROMPT)
            chunks = [chunk async for chunk in stream]
            made = len(ticks)
        ticker.cancel()
        assert [chunk.index for chunk in chunks] == [0, 1, 2, 3]
        assert receipt.id in {update for chunk in chunks for update in chunk.updates}
        assert opened >= 3  # it loads for longer than some ticks, on any machine
        assert made > opened

    asyncio.run(asyncio.wait_for(main(), LIMIT_S))


def test_a_wait_that_is_cancelled_takes_no_chunk():
    async def main() -> None:
        taken: list[Chunk | None] = []
        async with Stream(small("run.chunks=8"), ahead=1) as stream:
            stream.pause()
            with contextlib.suppress(TimeoutError):
                while len(taken) < 8:
                    taken.append(await asyncio.wait_for(stream.next_chunk_async(), 1.0))
            assert len(taken) < 8  # so the last wait was cancelled
            stream.resume()
            taken += [chunk async for chunk in stream]
        assert [chunk and chunk.index for chunk in taken] == list(range(8))

    asyncio.run(asyncio.wait_for(main(), LIMIT_S))


def test_an_opening_that_is_cancelled_leaves_nothing_open():
    stream = Stream(small())

    async def use() -> None:
        async with stream:
            raise AssertionError("it was cancelled before")

    async def main() -> None:
        opening = asyncio.create_task(use())
        await asyncio.sleep(TICK_S)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

    asyncio.run(asyncio.wait_for(main(), LIMIT_S))
    assert stream.next_chunk(0.0) is None


def test_nor_does_one_that_is_cancelled_twice():
    stream = Stream(small())

    async def main() -> None:
        opening = asyncio.create_task(stream.__aenter__())
        for _ in range(2):
            await asyncio.sleep(TICK_S)
            opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

    asyncio.run(asyncio.wait_for(main(), LIMIT_S))  # it ends when the threads that it has started have
    with pytest.raises(RequestError, match="not open"):
        stream.state()
