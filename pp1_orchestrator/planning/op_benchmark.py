"""Does counted operations for real, with made-up numbers, and takes their time.

Operations take turns, as they do in the model, so that caches are as cold as there. An operation that is too large for
a quick look is done at a smaller size.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_unflatten

from pp1_orchestrator.planning.op_counter import Operation, TensorShape, counting

META = torch.device("meta")
BATCH_BYTES = 48 << 20
"""Operands held at the same time: measuring must leave no mark on a process's peak memory."""
LARGEST_BYTES = 256 << 20
"""Of a single operation."""
LARGEST_SIDE = 4096
LEAST_ROUNDS = 2
"""The first ones still pay for fresh memory."""


@dataclass(slots=True)
class Timed:
    """One operation's seconds, in its best round. scale: the model's own by what was done."""

    operation: Operation
    done: Operation
    seconds: float = math.inf

    @property
    def scale(self) -> float:
        return self.operation.amount / self.done.amount


def replay(operations: Sequence[Operation], device: torch.device, largest_flops: float, seconds: float) -> list[Timed]:
    """Time each operation, spending about `seconds` on repetitions; what can't be made smaller is left out."""
    fitting = [Timed(op, _fitting(op, largest_flops)) for op in operations]
    timed = [t for t in fitting if t.done.nbytes <= LARGEST_BYTES]
    batches = list(_batches(timed))
    for batch in batches:
        _take_turns(batch, device, seconds / len(batches))
    return timed


def synchronize(device: torch.device) -> None:
    """Wait for what was launched."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _take_turns(batch: list[Timed], device: torch.device, seconds: float) -> None:
    calls = [_call(t.done, device) for t in batch]
    for call in calls:
        call()
    synchronize(device)
    rounds, end = 0, time.perf_counter() + seconds
    while rounds < LEAST_ROUNDS or time.perf_counter() < end:
        rounds += 1
        for timed, call in zip(batch, calls, strict=True):
            start = time.perf_counter()
            call()
            synchronize(device)
            timed.seconds = min(timed.seconds, time.perf_counter() - start)


def _batches(timed: Sequence[Timed]) -> Iterator[list[Timed]]:
    batch: list[Timed] = []
    for t in timed:
        if batch and sum(other.done.nbytes for other in batch) + t.done.nbytes > BATCH_BYTES:
            yield batch
            batch = []
        batch.append(t)
    if batch:
        yield batch


def _call(operation: Operation, device: torch.device) -> Callable[[], Any]:
    args, kwargs = tree_unflatten([_made(leaf, device) for leaf in operation.arguments], operation.structure)
    return lambda: operation.operator(*args, **kwargs)


def _made(leaf: Any, device: torch.device) -> Any:
    """A tensor of the shape, filled with halves or zeros; anything else as it is."""
    if isinstance(leaf, torch.device):
        return device
    if not isinstance(leaf, TensorShape):
        return leaf
    value = 0.5 if leaf.dtype.is_floating_point else 0
    return torch.full((leaf.storage_size,), value, dtype=leaf.dtype, device=device).as_strided(leaf.size, leaf.stride)


def _fitting(operation: Operation, largest_flops: float) -> Operation:
    """The operation, or the same product with every side cut until it is quick. Only products can be cut."""
    side, fitting = LARGEST_SIDE, operation
    while fitting.flops > largest_flops or (fitting.flops and fitting.nbytes > LARGEST_BYTES):
        arguments = [_cut(leaf, side) for leaf in operation.arguments]
        args, kwargs = tree_unflatten([_made(leaf, META) for leaf in arguments], operation.structure)
        with counting() as counted:
            operation.operator(*args, **kwargs)
        fitting = counted.operations[0]
        side //= 2
    return fitting


def _cut(leaf: Any, side: int) -> Any:
    """No side longer than `side`, in the same memory order."""
    if not isinstance(leaf, TensorShape):
        return leaf
    size = tuple(min(length, side) for length in leaf.size)
    order = sorted(range(len(size)), key=lambda i: leaf.stride[i], reverse=True)
    back = [order.index(i) for i in range(len(size))]
    inner: Tensor = torch.empty([size[i] for i in order], device=META).permute(back)
    return TensorShape(size, inner.stride(), leaf.dtype)
