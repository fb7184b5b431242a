"""The four ways in which decoding chunk N relates in time to generating chunk N+1. All of them give the same pixels.

Each `step` makes the same calls of the pipeline: `plan`, `accept`, `prepare`, `finish`. They differ in the order and in
the thread. `prepare` makes what the next plan may need of a chunk's pixels; `finish` decodes the rest.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import ClassVar

from pp1_orchestrator.contract import wire
from pp1_orchestrator.stage0.in_flight_chunk import InFlightChunk
from pp1_orchestrator.stage0.overlap.base import IN_FLIGHT, Overlap, OverlapParts, exchange, note_sent, receive
from pp1_orchestrator.stage0.overlap.threads import DecoderThread, LinkThread
from pp1_orchestrator.stage0.pipeline import ChunkPipeline
from pp1_orchestrator.stage0.strategy_facts import QUEUES
from pp1_orchestrator.transport.link import Received


class Sync(Overlap):
    """overlap=sync: send, wait, decode, emit. Nothing overlaps; the baseline."""

    hides_decode: ClassVar[bool] = False

    def step(self, pipeline: ChunkPipeline) -> bool:
        chunk = pipeline.plan(block=True)
        if chunk is None:
            return False
        received = pipeline.accept(exchange(self._parts, chunk))
        if received is not None:
            pipeline.prepare(received)
            pipeline.finish(received)
        self._parts.link.run_deferred()
        return True


class LoopAhead(Overlap):
    """overlap=loop_ahead: one thread, which submits chunk N+1 before it decodes chunk N.

    Overlaps with a mesh in other processes. A mesh in this process has no thread here, so nothing overlaps with it.
    """

    def __init__(self, parts: OverlapParts) -> None:
        super().__init__(parts)
        self._sent: deque[tuple[InFlightChunk, Callable[[], None]]] = deque()
        """The chunk with the mesh, if any, and what waits until its envelope has been taken."""

    def step(self, pipeline: ChunkPipeline) -> bool:
        if not self._sent:
            self._submit(pipeline.plan(block=True))
        if not self._sent:
            return False
        received = pipeline.accept(self._next_result())
        if received is not None:
            pipeline.prepare(received)
        self._submit(pipeline.plan(block=False))
        if received is not None:
            pipeline.finish(received)
        self._parts.link.run_deferred()
        return True

    def _submit(self, chunk: InFlightChunk | None) -> None:
        """Begin to send. The leader takes the envelope when it has finished the last chunk's context pass."""
        if chunk is not None:
            self._parts.queues.record(IN_FLIGHT, 1)
            start = time.monotonic_ns()
            self._sent.append((chunk, self._parts.link.start_send(chunk.encoded)))
            note_sent(self._parts, chunk, start)

    def _next_result(self) -> Received:
        chunk, wait_until_taken = self._sent.popleft()
        wait_until_taken()
        result = receive(self._parts, chunk)
        self._parts.queues.record(IN_FLIGHT, 0)
        return result


class Stage0Owned(Overlap):
    """overlap=stage0_owned: a thread talks to the mesh, and envelope N+1 leaves before chunk N is decoded.

    With d_in above 1 the next envelope already waits when a result comes. A prompt takes effect d_in − 1 chunks later.
    """

    queues: ClassVar[tuple[str, ...]] = QUEUES["stage0_owned"]
    threaded: ClassVar[bool] = True

    def __init__(self, parts: OverlapParts) -> None:
        super().__init__(parts)
        self._link = LinkThread(parts)

    def step(self, pipeline: ChunkPipeline) -> bool:
        self._submit(pipeline, block=not self._link.in_flight)
        if not self._link.in_flight:
            return False
        received = pipeline.accept(self._link.next_result())
        if received is not None:
            pipeline.prepare(received)
        self._submit(pipeline, block=False)
        if received is not None:
            pipeline.finish(received)
        return True

    def post(self, message: wire.EncodedMessage) -> None:
        self._link.post(message)

    def close(self, timeout_s: float) -> bool:
        return self._link.close(timeout_s)

    def _submit(self, pipeline: ChunkPipeline, block: bool) -> None:
        """Plan chunks until d_in of them are in flight."""
        while self._link.in_flight < self._parts.d_in:
            chunk = pipeline.plan(block)
            if chunk is None:
                return
            self._link.submit(chunk)
            block = False


class DecodeThread(Overlap):
    """overlap=decode_thread: sending and receiving stay synchronous, and a thread decodes.

    The next chunk is planned once a result is in the decoder's queue, and the pixels that the plan needs are decoded.
    """

    queues: ClassVar[tuple[str, ...]] = QUEUES["decode_thread"]
    threaded: ClassVar[bool] = True

    def __init__(self, parts: OverlapParts) -> None:
        super().__init__(parts)
        self._decoder = DecoderThread(parts)

    def step(self, pipeline: ChunkPipeline) -> bool:
        self._decoder.check()
        chunk = pipeline.plan(block=True)
        if chunk is None:
            return False
        received = pipeline.accept(exchange(self._parts, chunk))
        if received is not None:
            self._decoder.submit(pipeline, received)
        self._parts.link.run_deferred()
        return True

    def close(self, timeout_s: float) -> bool:
        return self._decoder.close(timeout_s)
