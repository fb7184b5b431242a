"""Runs counted operations on a device, with made-up data, and times them.

Operations take turns, as in the model, so that caches are as cold as there. One that would take too long is cut.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_unflatten

from pp1_orchestrator.planning.op_counter import Operation, RecordedCall, TensorShape, counting

META = torch.device("meta")
BATCH_BYTES = 48 << 20
"""Operands held at the same time. Small, so that calibrating does not raise the process's peak memory."""
MAX_OPERATION_BYTES = 256 << 20
MAX_SIDE = 4096
MIN_ROUNDS = 2
"""The first round still pays for fresh memory."""


@dataclass(slots=True)
class TimedOperation:
    """The seconds that an operation's best round took, at the size at which it was run."""

    operation: Operation
    run: Operation
    seconds: float = math.inf

    @property
    def scale(self) -> float:
        """The model's amount of work, relative to what was run."""
        return self.operation.amount / self.run.amount


Batch = list[TimedOperation]


def time_operations(
    operations: Sequence[Operation],
    device: torch.device,
    max_flops: float,
    seconds: float,
    watch: Callable[[Sequence[Batch]], Iterable[Batch]] = iter,
) -> list[TimedOperation]:
    """Time each operation, repeating them for about `seconds`. One that is too large and can't be cut is left out.

    watch: goes through what is measured together, one after the other.
    """
    cut = [TimedOperation(op, _cut_to_size(op, max_flops)) for op in operations]
    timed = [t for t in cut if t.run.nbytes <= MAX_OPERATION_BYTES]
    batches = list(_batches(timed))
    for batch in watch(batches):
        _time_in_turns(batch, device, seconds / len(batches))
    return timed


def synchronize(device: torch.device) -> None:
    """Wait for all work on the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _time_in_turns(batch: list[TimedOperation], device: torch.device, seconds: float) -> None:
    calls = [_call(t.run, device) for t in batch]
    for call in calls:
        call()
    synchronize(device)
    rounds, end = 0, time.perf_counter() + seconds
    while rounds < MIN_ROUNDS or time.perf_counter() < end:
        rounds += 1
        for timed, call in zip(batch, calls, strict=True):
            start = time.perf_counter()
            call()
            synchronize(device)
            timed.seconds = min(timed.seconds, time.perf_counter() - start)


def _batches(timed: Sequence[TimedOperation]) -> Iterator[list[TimedOperation]]:
    batch: list[TimedOperation] = []
    for t in timed:
        if batch and sum(other.run.nbytes for other in batch) + t.run.nbytes > BATCH_BYTES:
            yield batch
            batch = []
        batch.append(t)
    if batch:
        yield batch


def _call(operation: Operation, device: torch.device) -> Callable[[], Any]:
    call = _recorded(operation)
    args, kwargs = tree_unflatten([_with_data(leaf, device) for leaf in call.arguments], call.structure)
    return lambda: call.operator(*args, **kwargs)


def _recorded(operation: Operation) -> RecordedCall:
    assert operation.call is not None, "counts from a file can't be run"
    return operation.call


def _with_data(leaf: Any, device: torch.device) -> Any:
    """A tensor of the shape, filled with halves or zeros; any other argument unchanged."""
    if isinstance(leaf, torch.device):
        return device
    if not isinstance(leaf, TensorShape):
        return leaf
    value = 0.5 if leaf.dtype.is_floating_point else 0
    return torch.empty_strided(leaf.size, leaf.stride, dtype=leaf.dtype, device=device).fill_(value)


def _cut_to_size(operation: Operation, max_flops: float) -> Operation:
    """The operation, or the same product with every side cut until it is small enough. Only products can be cut."""
    side, small = MAX_SIDE, operation
    while small.flops > max_flops or (small.flops and small.nbytes > MAX_OPERATION_BYTES):
        call = _recorded(operation)
        arguments = [_cut(leaf, side) for leaf in call.arguments]
        args, kwargs = tree_unflatten([_with_data(leaf, META) for leaf in arguments], call.structure)
        with counting() as counted:
            call.operator(*args, **kwargs)
        small = counted.operations[0]
        side //= 2
    return small


def _cut(leaf: Any, side: int) -> Any:
    """The shape with no side longer than `side`, in the same memory order."""
    if not isinstance(leaf, TensorShape):
        return leaf
    size = tuple(min(length, side) for length in leaf.size)
    order = sorted(range(len(size)), key=lambda i: leaf.stride[i], reverse=True)
    inverse = [order.index(i) for i in range(len(size))]
    cut: Tensor = torch.empty([size[i] for i in order], device=META).permute(inverse)
    return TensorShape(size, cut.stride(), leaf.dtype)
