"""What rank 0 talks to: a mesh in other processes, or one in its own process. Both speak the contract's wire format.

One thread only may use a link.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import torch
from torch import Tensor

from pp1_orchestrator.contract import Envelope, Result, wire
from pp1_orchestrator.transport.groups import PeerPipe
from pp1_orchestrator.transport.messages import Received, receive_message, send_parcel


class MeshLink(Protocol):
    """Rank 0's side of the contract. Exactly one `receive` follows every INFER that was sent."""

    device: torch.device

    def send(self, parcel: wire.Parcel) -> None: ...

    def receive(self) -> Received:
        """Wait for the next result. Raises MeshError or RuntimeError when the mesh is gone."""
        ...

    def settle(self) -> None:
        """Let work that follows a result run now, where nobody else would run it."""
        ...


class DistLink:
    """A mesh in other processes."""

    def __init__(self, pipe: PeerPipe) -> None:
        self._pipe = pipe
        self.device = pipe.device

    def send(self, parcel: wire.Parcel) -> None:
        send_parcel(parcel, self._pipe.send)

    def receive(self) -> Received:
        return receive_message(self._pipe.receive, self.device)

    def settle(self) -> None:
        return None


class Worker(Protocol):
    """A mesh rank's work on one chunk (`mesh.worker.MeshWorker`)."""

    def infer(self, envelope: Envelope, idle_ms: float) -> Result: ...

    def settle(self) -> None: ...


class _Memory:
    """A pipe inside one process: tensors wait in a queue."""

    def __init__(self) -> None:
        self._queue: deque[Tensor] = deque()

    def send(self, tensor: Tensor) -> None:
        self._queue.append(tensor)

    def receive(self, tensor: Tensor) -> None:
        tensor.copy_(self._queue.popleft())


class InlineLink:
    """A mesh of one rank in this process: its work is done by the thread that waits for the result."""

    def __init__(self, worker: Worker, device: torch.device) -> None:
        self._worker = worker
        self._out, self._back = _Memory(), _Memory()
        self.device = device

    def send(self, parcel: wire.Parcel) -> None:
        send_parcel(parcel, self._out.send)

    def receive(self) -> Received:
        envelope = receive_message(self._out.receive, self.device).message
        result = self._worker.infer(envelope, idle_ms=0.0)
        send_parcel(wire.pack_result(result, self.device), self._back.send)
        return receive_message(self._back.receive, self.device)

    def settle(self) -> None:
        self._worker.settle()
