"""What rank 0 talks to: a mesh in other processes, or one in its own process. Both speak the contract's wire format.
The leader's end of the link between processes is the same.

One thread only may use a link.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

import torch
from torch import Tensor

from pp1_orchestrator.contract import Action, Envelope, Result, wire
from pp1_orchestrator.contract.versions import LATEST
from pp1_orchestrator.transport.groups import PeerPipe, Sending
from pp1_orchestrator.transport.messages import Received, receive_message, send_parcel


class MeshLink(Protocol):
    """Rank 0's side of the contract. Exactly one `receive` follows every INFER that was sent.

    version: of the contract, as agreed with the mesh.
    """

    device: torch.device
    version: int

    def send(self, parcel: wire.Parcel) -> None: ...

    def start_send(self, parcel: wire.Parcel) -> Sending:
        """Send without waiting for the leader to take it; it may still be busy with the last chunk."""
        ...

    def receive(self) -> Received:
        """Wait for the next result. Raises MeshError or RuntimeError when the mesh is gone."""
        ...

    def settle(self) -> None:
        """Let work that follows a result run now, where nobody else would run it."""
        ...


class DistLink:
    """A peer in another process: the leader for rank 0, rank 0 for the leader."""

    def __init__(self, pipe: PeerPipe, version: int) -> None:
        self._pipe = pipe
        self.device, self.version = pipe.device, version

    def send(self, parcel: wire.Parcel) -> None:
        self.start_send(parcel).wait()

    def start_send(self, parcel: wire.Parcel) -> Sending:
        return _Started(parcel, [self._pipe.start_send(tensor) for tensor in parcel.parts])

    def receive(self) -> Received:
        return receive_message(self._pipe.receive, self.device)

    def settle(self) -> None:
        return None


class _Started:
    """Several tensors on their way, and the parcel that owns them."""

    def __init__(self, parcel: wire.Parcel, sendings: list[Sending]) -> None:
        self._parcel, self._sendings = parcel, sendings

    def wait(self) -> None:
        for sending in self._sendings:
            sending.wait()


class Text(Protocol):
    """The leader's part in text (`mesh.text.LeaderText`)."""

    def resolve(self, envelope: Envelope) -> Any: ...


class Worker(Protocol):
    """A mesh rank's work on one chunk (`mesh.worker.MeshWorker`)."""

    def infer(self, resolved: Any, idle_ms: float) -> Result: ...

    def settle(self) -> None: ...


class _Memory:
    """A pipe inside one process: tensors wait in a queue."""

    def __init__(self) -> None:
        self._queue: deque[Tensor] = deque()

    def send(self, tensor: Tensor) -> None:
        self._queue.append(tensor)

    def receive(self, tensor: Tensor) -> None:
        tensor.copy_(self._queue.popleft())


class _Done:
    """Nothing to wait for."""

    def wait(self) -> None:
        return None


class InlineLink:
    """A mesh of one rank in this process: its work is done by the thread that waits for the result."""

    def __init__(self, text: Text, worker: Worker, device: torch.device) -> None:
        self._text, self._worker = text, worker
        self._out, self._back = _Memory(), _Memory()
        self.device, self.version = device, LATEST

    def send(self, parcel: wire.Parcel) -> None:
        send_parcel(parcel, self._out.send)

    def start_send(self, parcel: wire.Parcel) -> Sending:
        self.send(parcel)
        return _Done()

    def receive(self) -> Received:
        envelope = self._next_infer()
        result = self._worker.infer(self._text.resolve(envelope), idle_ms=0.0)
        send_parcel(wire.pack_result(result, self.device), self._back.send)
        return receive_message(self._back.receive, self.device)

    def _next_infer(self) -> Envelope:
        """Heartbeats wait in the same queue, and ask nothing of a mesh that can't be away."""
        while True:
            envelope = receive_message(self._out.receive, self.device).message
            if envelope.meta.action is Action.INFER:
                return envelope

    def settle(self) -> None:
        self._worker.settle()

    def let_go(self) -> None:
        """Of the worker, and with it of the generator, whoever still holds this link: it is of no use any more.

        Once more is nothing more: a mesh that could not be replaced is stopped again.
        """
        for name in ("_worker", "_text"):
            vars(self).pop(name, None)
