"""The link between rank 0 and the mesh: whole messages over a channel, duplicates dropped, waits timed.

A channel moves tensors: between two processes, or to a mesh in the same one (`InlineChannel`). A link and its channel
may be used by one thread only.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor

from pp1_orchestrator.contract import Action, Envelope, Result, wire
from pp1_orchestrator.errors import MeshError
from pp1_orchestrator.transport.cuda_streams import StreamFence
from pp1_orchestrator.transport.response_timer import ResponseTimer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Received:
    """An Envelope or Result, its size, and when its header and all of it had arrived (monotonic).

    fence: for a thread that uses the message's tensors on another stream.
    """

    message: Any
    nbytes: int
    header_ns: int
    done_ns: int
    fence: StreamFence


def receive_message(receive: Callable[[Tensor], object], device: torch.device | str) -> Received:
    """Receive and check one message. receive: fills a tensor.

    Raises ContractError on the first part that breaks the contract.
    """
    header_tensor = torch.empty(wire.HEADER_FIELDS, dtype=torch.int64, device=device)
    receive(header_tensor)
    header_ns = time.monotonic_ns()
    header = wire.read_header(header_tensor)
    meta_tensor = torch.empty(header.meta_bytes, dtype=torch.uint8, device=device)
    receive(meta_tensor)
    meta, specs = wire.read_meta(header, meta_tensor)
    tensors = [torch.empty(spec.shape, dtype=spec.torch_dtype, device=device) for spec in specs]
    for tensor in tensors:
        receive(tensor)
    nbytes = header_tensor.nbytes + meta_tensor.nbytes + sum(t.nbytes for t in tensors)
    message = wire.build(meta, specs, tensors)
    return Received(message, nbytes, header_ns, time.monotonic_ns(), StreamFence(header_tensor.device))


class Channel(ABC):
    """Moves tensors to one peer and back, in order. device: where the tensors live."""

    device: torch.device

    @abstractmethod
    def start_send(self, tensors: Sequence[Tensor]) -> Callable[[], None]:
        """Begin to send. The function that is returned waits until the peer has taken all tensors.

        Both raise PeerError if the peer is gone. The channel keeps the tensors alive as long as it reads them.
        """

    @abstractmethod
    def receive(self, tensor: Tensor) -> None:
        """Wait for the next tensor, and write it into `tensor`. Raises PeerError if the peer is gone."""

    def run_deferred(self) -> None:
        """See `MeshLink.run_deferred`."""
        return None


class MeshLink:
    """Rank 0's end or the leader's. Rank 0 gets exactly one result for every INFER that it sends.

    Call ids rise. Both ends drop a message that comes twice, or after a newer one. So a sender must never wait until
    the peer has taken a message that it does not wait for: the peer may be sending, too (see `mesh.leader`).
    """

    def __init__(
        self, channel: Channel, timer: ResponseTimer | None = None, on_duplicate: Callable[[], None] | None = None
    ) -> None:
        """timer: times every wait for the peer. on_duplicate: called for each message that is dropped."""
        self._channel, self._timer, self._on_duplicate = channel, timer, on_duplicate
        self._newest_call = -1
        self.device = channel.device

    def send(self, message: wire.EncodedMessage) -> None:
        """Send, and wait until the peer has taken the message. Raises PeerError if the peer is gone."""
        self.start_send(message)()

    def start_send(self, message: wire.EncodedMessage) -> Callable[[], None]:
        """As `Channel.start_send`: the leader may still be busy with the last chunk."""
        wait = self._channel.start_send(message.parts)

        def wait_until_taken() -> None:
            with self._timed():
                wait()

        return wait_until_taken

    def receive(self) -> Received:
        """Wait for the next message. Raises PeerError if the peer is gone, ContractError for a broken message."""
        start = time.monotonic()
        with self._timed():
            received = self._receive_newer()
        if self._timer is not None:
            self._timer.record(time.monotonic() - start)
        return received

    def run_deferred(self) -> None:
        """Run the mesh's work that follows a result, if the mesh has no process of its own to do that."""
        with self._timed():
            self._channel.run_deferred()

    def _receive_newer(self) -> Received:
        while True:
            received = receive_message(self._channel.receive, self.device)
            call_id = received.message.meta.call_id
            if call_id > self._newest_call:
                self._newest_call = call_id
                return received
            log.warning(
                "a message came twice or late and was dropped: call %d after %d", call_id, self._newest_call,
                extra={"call_id": call_id},
            )  # fmt: skip
            if self._on_duplicate is not None:
                self._on_duplicate()

    def _timed(self) -> AbstractContextManager[None]:
        return nullcontext() if self._timer is None else self._timer.timed()


class InlineChannel(Channel):
    """To a mesh of one rank in this process. The thread that waits for a result does the mesh's work."""

    def __init__(
        self, infer: Callable[[Envelope], Result], run_deferred: Callable[[], None], device: torch.device
    ) -> None:
        """infer: runs one INFER. run_deferred: runs the work that follows its result."""
        self._infer, self._run_deferred, self.device = infer, run_deferred, device
        self._requests: deque[Tensor] = deque()
        self._results: deque[Tensor] = deque()

    def start_send(self, tensors: Sequence[Tensor]) -> Callable[[], None]:
        self._requests.extend(tensors)
        return lambda: None

    def receive(self, tensor: Tensor) -> None:
        if not self._results:
            self._results.extend(wire.pack_result(self._infer(self._next_infer()), self.device).parts)
        tensor.copy_(self._results.popleft())

    def run_deferred(self) -> None:
        self._run_deferred()

    def release(self) -> None:
        """Drop the references to the mesh: its generator must not live as long as this channel does."""
        self._infer = self._run_deferred = _raise_stopped

    def _next_infer(self) -> Envelope:
        """Skips heartbeats: a mesh in this process needs none."""
        while True:
            envelope = receive_message(lambda tensor: tensor.copy_(self._requests.popleft()), self.device).message
            if envelope.meta.action is Action.INFER:
                return envelope


def _raise_stopped(*_: object) -> NoReturn:
    raise MeshError("the mesh has been stopped")
