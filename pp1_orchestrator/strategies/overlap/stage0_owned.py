"""Stage 0 hides a communication thread: envelope k+1 leaves before chunk k is decoded.

The thread alone uses the link. Both queues hold one item: at most one chunk is with the mesh while one is decoded.
"""

from __future__ import annotations

import queue
import threading

from pp1_orchestrator.contract import wire
from pp1_orchestrator.errors import MeshError
from pp1_orchestrator.measure.spans import SpanRecorder
from pp1_orchestrator.stage0.flight import Flight
from pp1_orchestrator.strategies.overlap.base import Steps, collect, deliver
from pp1_orchestrator.transport.link import MeshLink
from pp1_orchestrator.transport.messages import Received

DEPTH = 1
POLL_S = 1.0


class Stage0Owned:
    """overlap=stage0_owned."""

    def __init__(self, link: MeshLink, spans: SpanRecorder) -> None:
        self._link, self._spans = link, spans
        self._outbox: queue.Queue[Flight | wire.Parcel | None] = queue.Queue(DEPTH)
        self._inbox: queue.Queue[Received | Exception] = queue.Queue(DEPTH)
        self._in_flight = 0
        self._thread = threading.Thread(target=self._communicate, name="mesh-comms", daemon=True)
        self._thread.start()

    def step(self, stage: Steps) -> bool:
        if not self._in_flight and not self._submit(stage.plan(block=True)):
            return False
        received = self._next_result()
        self._submit(stage.plan(block=False))
        stage.finish(received)
        return True

    def post(self, parcel: wire.Parcel) -> None:
        self._outbox.put(parcel)

    def close(self, timeout_s: float) -> bool:
        try:
            self._outbox.put(None, timeout=timeout_s)
        except queue.Full:
            return False
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _submit(self, flight: Flight | None) -> bool:
        if flight is None:
            return False
        self._outbox.put(flight)
        self._in_flight += 1
        return True

    def _next_result(self) -> Received:
        """The link's own time limit ends a wait for a silent mesh; here only a dead thread must be noticed."""
        while True:
            try:
                received = self._inbox.get(timeout=POLL_S)
            except queue.Empty:
                if not self._thread.is_alive():
                    raise MeshError("the communication thread has ended") from None
                continue
            if isinstance(received, Exception):
                raise received
            self._in_flight -= 1
            return received

    def _communicate(self) -> None:
        try:
            while (item := self._outbox.get()) is not None:
                if isinstance(item, wire.Parcel):
                    self._link.send(item)
                    continue
                deliver(self._link, item, self._spans)
                self._inbox.put(collect(self._link, item, self._spans))
                self._link.settle()
        except Exception as error:  # noqa: BLE001 - the thread's boundary: it is raised again in the session's thread
            self._inbox.put(error)
