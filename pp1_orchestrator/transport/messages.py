"""Whole messages over a pipe or from the leader to the mesh, in the contract's wire format."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pp1_orchestrator.contract import wire
from pp1_orchestrator.transport.lanes import Fence

Move = Callable[[Tensor], Any]


@dataclass(frozen=True, slots=True)
class Received:
    """A message and when it came: header_ns when its header was there, done_ns when all of it was (monotonic).

    arrived: crossed by whichever thread takes the message over.
    """

    message: Any
    nbytes: int
    header_ns: int
    done_ns: int
    arrived: Fence


def send_parcel(parcel: wire.Parcel, send: Move) -> None:
    """Header first, then metadata, then tensors in the order of the metadata. Nothing in here checks: `pack` did."""
    for part in parcel.parts:
        send(part)


def receive_message(receive: Move, device: torch.device | str) -> Received:
    """Receive and check one message. Raises ContractError on the first part that breaks the contract."""
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
    return Received(message, nbytes, header_ns, time.monotonic_ns(), Fence(header_tensor.device))
