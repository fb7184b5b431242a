"""Send and receive stay synchronous; decoding runs on a thread of its own, which alone uses the decoder.

The session's thread goes on to the next chunk as soon as a result is in the queue. Where the next plan needs pixels of
this chunk it waits for those, and only for those.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import ClassVar

from pp1_orchestrator.contract import wire
from pp1_orchestrator.errors import Stage0Error, named_line
from pp1_orchestrator.stage0.flight import Accepted
from pp1_orchestrator.strategies.overlap.base import DECODED_NEXT, OverlapParts, Steps, exchange
from pp1_orchestrator.transport.lanes import own_lane

POLL_S = 0.5
CLOSE_POLL_S = 0.01

Job = tuple[Steps, Accepted, threading.Event]


class DecodeThread:
    """overlap=decode_thread."""

    queues: ClassVar[tuple[str, ...]] = ("d_out",)

    def __init__(self, parts: OverlapParts) -> None:
        self._parts = parts
        self._results: queue.Queue[Job | None] = queue.Queue(parts.depths.d_out)
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._decode, name="decode", daemon=True)
        self._thread.start()

    def step(self, stage: Steps) -> bool:
        self._check()
        flight = stage.plan(block=True)
        if flight is None:
            return False
        accepted = stage.accept(exchange(self._parts, flight))
        if accepted is not None:
            self._hand_over(stage, accepted)
        self._parts.link.settle()
        return True

    def post(self, parcel: wire.Parcel) -> None:
        self._parts.link.send(parcel)

    def close(self, timeout_s: float) -> bool:
        """Results that nobody waits for any more are thrown away: the thread comes to its end after one chunk."""
        end = time.monotonic() + timeout_s
        while self._thread.is_alive():
            with contextlib.suppress(queue.Empty):
                while True:
                    self._results.get_nowait()
            with contextlib.suppress(queue.Full):
                self._results.put_nowait(None)
            self._thread.join(CLOSE_POLL_S)
            if time.monotonic() >= end:
                break
        return not self._thread.is_alive()

    def _hand_over(self, stage: Steps, accepted: Accepted) -> None:
        prepared = threading.Event()
        self._wait_for(lambda: self._offer((stage, accepted, prepared)))
        if stage.needs_pixels:
            self._wait_for(lambda: prepared.wait(POLL_S))

    def _offer(self, job: Job) -> bool:
        try:
            self._results.put(job, timeout=POLL_S)
        except queue.Full:
            return False
        self._parts.queues.note(DECODED_NEXT, self._results.qsize())
        return True

    def _wait_for(self, done: Callable[[], bool]) -> None:
        """Ask until it is done. Raises the decoding thread's failure."""
        while not done():
            self._check()

    def _check(self) -> None:
        if self._failure is not None:
            raise Stage0Error(f"decoding failed: {named_line(self._failure)}") from self._failure

    def _decode(self) -> None:
        try:
            with own_lane(self._parts.link.device):
                while (job := self._results.get()) is not None:
                    stage, accepted, prepared = job
                    accepted.taken.cross([accepted.latents, accepted.finite])
                    stage.prepare(accepted)
                    prepared.set()
                    stage.finish(accepted)
        except Exception as error:  # noqa: BLE001 - the thread's boundary: it is raised again in the session's thread
            self._failure = error
