"""Stage 0 hides a communication thread: envelope k+1 leaves before chunk k is decoded.

The thread alone uses the link, one envelope and its result after the other. Both queues are bounded; with d_in above 1
the next envelope already waits when a result comes, at the price of a prompt's taking effect so many chunks later.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from typing import ClassVar

from pp1_orchestrator.contract import wire
from pp1_orchestrator.errors import MeshError
from pp1_orchestrator.stage0.flight import Flight
from pp1_orchestrator.strategies.overlap.base import DECODED_NEXT, IN_FLIGHT, OverlapParts, Steps, collect, deliver
from pp1_orchestrator.transport.lanes import own_lane
from pp1_orchestrator.transport.messages import Received

POLL_S = 1.0
CLOSE_POLL_S = 0.01


class Stage0Owned:
    """overlap=stage0_owned."""

    queues: ClassVar[tuple[str, ...]] = ("d_in", "d_out")

    def __init__(self, parts: OverlapParts) -> None:
        self._parts = parts
        self._outbox: queue.Queue[Flight | wire.Parcel | None] = queue.Queue(parts.depths.d_in)
        self._inbox: queue.Queue[Received | Exception] = queue.Queue(parts.depths.d_out)
        self._in_flight = 0
        self._thread = threading.Thread(target=self._communicate, name="mesh-comms", daemon=True)
        self._thread.start()

    def step(self, stage: Steps) -> bool:
        self._submit(stage, block=not self._in_flight)
        if not self._in_flight:
            return False
        accepted = stage.accept(self._next_result())
        if accepted is not None:
            stage.prepare(accepted)
        self._submit(stage, block=False)
        if accepted is not None:
            stage.finish(accepted)
        return True

    def post(self, parcel: wire.Parcel) -> None:
        """A heartbeat that finds another one still waiting is not needed."""
        with contextlib.suppress(queue.Full):
            self._outbox.put_nowait(parcel)

    def close(self, timeout_s: float) -> bool:
        """Results that nobody waits for any more are thrown away: the thread must not wait for room."""
        end = time.monotonic() + timeout_s
        told = False
        while self._thread.is_alive() and time.monotonic() < end:
            with contextlib.suppress(queue.Full):
                if not told:
                    self._outbox.put_nowait(None)
                    told = True
            with contextlib.suppress(queue.Empty):
                self._inbox.get_nowait()
            self._thread.join(CLOSE_POLL_S)
        return not self._thread.is_alive()

    def _submit(self, stage: Steps, block: bool) -> None:
        """Plan as many chunks as may be in flight."""
        while self._in_flight < self._parts.depths.d_in:
            flight = stage.plan(block)
            if flight is None:
                return
            self._in_flight += 1
            self._parts.queues.note(IN_FLIGHT, self._in_flight)
            self._hand_over(flight)
            block = False

    def _hand_over(self, flight: Flight) -> None:
        """A heartbeat may still be in the queue: that of a mesh that does not take it."""
        while True:
            try:
                return self._outbox.put(flight, timeout=POLL_S)
            except queue.Full:
                self._check_thread()

    def _check_thread(self) -> None:
        if not self._thread.is_alive():
            raise MeshError("the communication thread has ended")

    def _next_result(self) -> Received:
        """The link's own time limit ends a wait for a silent mesh; here only a dead thread must be noticed."""
        while True:
            try:
                received = self._inbox.get(timeout=POLL_S)
            except queue.Empty:
                self._check_thread()
                continue
            if isinstance(received, Exception):
                raise received
            self._in_flight -= 1
            self._parts.queues.note(IN_FLIGHT, self._in_flight)
            return received

    def _communicate(self) -> None:
        try:
            with own_lane(self._parts.link.device):
                while (item := self._outbox.get()) is not None:
                    self._exchange(item)
        except Exception as error:  # noqa: BLE001 - the thread's boundary: it is raised again in the session's thread
            self._inbox.put(error)

    def _exchange(self, item: Flight | wire.Parcel) -> None:
        """Send a message; for a chunk, wait for its result too."""
        if isinstance(item, wire.Parcel):
            self._parts.link.send(item)
            return
        deliver(self._parts, item)
        self._inbox.put(collect(self._parts, item))
        self._parts.queues.note(DECODED_NEXT, self._inbox.qsize())
        self._parts.link.settle()
