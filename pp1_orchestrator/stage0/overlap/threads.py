"""The two threads beside the session's: one talks to the mesh, the other decodes.

Both take their work from a bounded queue. A failure on either is raised in the session's thread.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from pp1_orchestrator.contract import wire
from pp1_orchestrator.errors import MeshError, Stage0Error, named_line
from pp1_orchestrator.stage0.in_flight_chunk import InFlightChunk, ReceivedChunk
from pp1_orchestrator.stage0.overlap.base import IN_FLIGHT, TO_DECODE, OverlapParts, receive, send
from pp1_orchestrator.stage0.pipeline import ChunkPipeline
from pp1_orchestrator.transport.cuda_streams import dedicated_stream
from pp1_orchestrator.transport.link import Received

POLL_S = 0.5
"""How long the session's thread waits for a queue before it looks for a failure."""
CLOSE_POLL_S = 0.01
Job = tuple[ChunkPipeline, ReceivedChunk, threading.Event]


class LinkThread:
    """Alone uses the link: sends an envelope, waits for its result, and takes the next envelope."""

    def __init__(self, parts: OverlapParts) -> None:
        self._parts = parts
        self._outbox: queue.Queue[InFlightChunk | wire.EncodedMessage | None] = queue.Queue(parts.d_in)
        self._inbox: queue.Queue[Received | Exception] = queue.Queue(parts.d_out)
        self.in_flight = 0
        """Chunks whose results have not been taken."""
        self._thread = threading.Thread(target=self._run, name="mesh-comms", daemon=True)
        self._thread.start()

    def submit(self, chunk: InFlightChunk) -> None:
        """Send a chunk's envelope. Waits while a heartbeat fills the queue, which the mesh has not received yet."""
        self._count(1)
        _put(self._outbox, chunk, self._check_alive)

    def post(self, message: wire.EncodedMessage) -> None:
        """Send a heartbeat. It is not needed when another one is still waiting."""
        with contextlib.suppress(queue.Full):
            self._outbox.put_nowait(message)

    def next_result(self) -> Received:
        """Wait for the oldest chunk's result. The link's own time limit ends a wait for a silent mesh."""
        while True:
            try:
                result = self._inbox.get(timeout=POLL_S)
            except queue.Empty:
                self._check_alive()
                continue
            if isinstance(result, Exception):
                raise result
            self._count(-1)
            return result

    def close(self, timeout_s: float) -> bool:
        """End the thread; True when it ended in time. Results that were not taken are discarded to make room."""
        return _end(self._thread, self._outbox, self._inbox, timeout_s)

    def _count(self, change: int) -> None:
        self.in_flight += change
        self._parts.queues.record(IN_FLIGHT, self.in_flight)

    def _check_alive(self) -> None:
        if not self._thread.is_alive():
            raise MeshError("the communication thread has ended")

    def _run(self) -> None:
        try:
            with dedicated_stream(self._parts.link.device):
                while (item := self._outbox.get()) is not None:
                    if isinstance(item, wire.EncodedMessage):
                        self._parts.link.send(item)
                    else:
                        self._exchange(item)
        except Exception as error:  # noqa: BLE001 - the thread's boundary: it is raised again in the session's thread
            self._inbox.put(error)

    def _exchange(self, chunk: InFlightChunk) -> None:
        send(self._parts, chunk)
        self._inbox.put(receive(self._parts, chunk))
        self._parts.queues.record(TO_DECODE, self._inbox.qsize())
        self._parts.link.run_deferred()


class DecoderThread:
    """Alone uses the decoder: prepares and finishes chunks in the order in which they were submitted."""

    def __init__(self, parts: OverlapParts) -> None:
        self._parts = parts
        self._jobs: queue.Queue[Job | None] = queue.Queue(parts.d_out)
        self._failure: Exception | SystemExit | None = None
        self._thread = threading.Thread(target=self._run, name="decode", daemon=True)
        self._thread.start()

    def submit(self, pipeline: ChunkPipeline, received: ReceivedChunk) -> None:
        """Have a chunk decoded. Waits for room, and for the pixels that the next plan needs."""
        prepared = threading.Event()
        _put(self._jobs, (pipeline, received, prepared), self.check)
        self._parts.queues.record(TO_DECODE, self._jobs.qsize())
        while pipeline.decoder.needs_pixels and not prepared.wait(POLL_S):
            self.check()

    def check(self) -> None:
        """Raises Stage0Error when decoding has failed."""
        if self._failure is not None:
            raise Stage0Error(f"decoding failed: {named_line(self._failure)}") from self._failure

    def close(self, timeout_s: float) -> bool:
        """End the thread after its current chunk; True when it ended in time. Chunks that wait are discarded."""
        return _end(self._thread, self._jobs, self._jobs, timeout_s)

    def _run(self) -> None:
        try:
            with dedicated_stream(self._parts.link.device):
                while (job := self._jobs.get()) is not None:
                    pipeline, received, prepared = job
                    received.fence.wait([received.latents, received.finite])
                    pipeline.prepare(received)
                    prepared.set()
                    pipeline.finish(received)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the thread's boundary: raised in the session's thread
            self._failure = error


def _put(jobs: queue.Queue[Any], job: object, check: Callable[[], None]) -> None:
    """Wait for room. `check` raises when the thread that takes the jobs has failed."""
    while True:
        try:
            return jobs.put(job, timeout=POLL_S)
        except queue.Full:
            check()


def _end(thread: threading.Thread, jobs: queue.Queue[Any], unwanted: queue.Queue[Any], timeout_s: float) -> bool:
    """Give the thread None as its next job, and discard what is `unwanted`; True when it ended in time."""
    end = time.monotonic() + timeout_s
    while thread.is_alive():
        with contextlib.suppress(queue.Empty):
            while True:
                unwanted.get_nowait()
        with contextlib.suppress(queue.Full):
            jobs.put_nowait(None)
        thread.join(CLOSE_POLL_S)
        if time.monotonic() >= end:
            break
    return not thread.is_alive()
