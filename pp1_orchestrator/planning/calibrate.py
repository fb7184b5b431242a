"""A machine as a few rates, measured by running the model's own operations a few times.

Knows a device and what was counted. How messages are timed is left to the caller.
"""

import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

import msgspec
import psutil
import torch
from torch.nn.functional import linear

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.model import Block
from pp1_orchestrator.models.wan.rope import rope_table
from pp1_orchestrator.planning.op_benchmark import Batch, TimedOperation, synchronize, time_operations
from pp1_orchestrator.planning.op_counter import KINDS, Kind, OpCounts, counting
from pp1_orchestrator.planning.part_profiles import dtype_of
from pp1_orchestrator.planning.profile import ModelProfile
from pp1_orchestrator.typed_torch import device_properties

PART_S = 0.03
"""Time spent on repeating one part's operations."""
OPERATION_S = 0.01
"""An operation that would take longer is run at a smaller size."""
CALL_S = 0.01
"""Time spent on measuring what a call costs."""
TINY_BLOCK = WanConfig(dim=16, ffn_dim=16, num_heads=1, num_layers=1)
"""So small that only calling its operations takes time."""


class Watch(Protocol):
    """Sees what is measured."""

    def __call__(self, batches: Sequence[Batch], part: str) -> Iterable[Batch]: ...


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """How fast one rank runs one part's operations; 0 for a kind that the part does not have.

    call_s: what an operation costs apart from its work, mostly Python's time.
    """

    matmul_flops_s: float
    attention_flops_s: float
    conv_flops_s: float
    other_bytes_s: float
    call_s: float = 0.0


class LinkSpeed(msgspec.Struct, frozen=True, kw_only=True):
    """n bytes take message_s + n / bytes_s as a message, and sum_s + n / sum_bytes_s as an all-reduce over the mesh.

    An all-to-all of n bytes a rank moves half as many as their all-reduce, so it takes sum_s + n / 2 / sum_bytes_s.

    sum_s includes the wait for the slowest rank, since it is measured between pieces of work.
    """

    message_s: float
    bytes_s: float
    sum_s: float
    sum_bytes_s: float
    method: str

    def messages(self, count: int, nbytes: int) -> float:
        """Seconds of `count` messages with nbytes in total."""
        return count * self.message_s + nbytes / self.bytes_s

    def all_reduces(self, count: int, nbytes: float) -> float:
        """Seconds of `count` all-reduces with nbytes in total."""
        return count * self.sum_s + nbytes / self.sum_bytes_s

    def collectives(self, work: OpCounts) -> float:
        """Seconds of all collectives of some work."""
        moved = work.reduction_bytes + work.exchange_bytes / 2
        return self.all_reduces(work.reductions + work.exchanges, moved)


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The rates from which all times are predicted.

    source: when and how they were found. parallel_ranks: how many ranks can compute at the same time; None where each
    has its own device. memory_bytes: the device's. context_bytes: of it, what each process on a GPU takes before it
    holds anything. gpus: None where that was not asked. calibration_s: how long measuring took.
    """

    name: str = "here"
    source: str = "measured"
    device: str
    torch_threads: int
    parallel_ranks: int | None = msgspec.field(name="lanes")
    memory_bytes: int
    context_bytes: int = 0
    gpus: int | None = None
    rates: dict[str, Rates]
    link: LinkSpeed
    calibration_s: float


def product_seconds(work: OpCounts, rates: Rates) -> float:
    """Time of the products alone. Raises ValueError for a kind of work whose rate was not measured."""
    products: tuple[Kind, ...] = ("matmul", "attention", "conv")
    return sum(_seconds(work.flops_of(kind), getattr(rates, f"{kind}_flops_s")) for kind in products)


def compute_seconds(work: OpCounts, rates: Rates) -> float:
    """Time on one rank, without its collectives. Raises ValueError as `product_seconds` does."""
    return product_seconds(work, rates) + _seconds(work.other_bytes, rates.other_bytes_s) + work.calls * rates.call_s


def _seconds(amount: int, rate: float) -> float:
    if amount and not rate:
        raise ValueError("there is work of a kind whose rate was not measured")
    return amount / rate if amount else 0.0


def calibrate(
    settings: Settings, profile: ModelProfile, probe: Callable[[float], LinkSpeed], watch: "Watch | None" = None
) -> Machine:
    """Measure the layout's device, with this process's number of torch threads.

    probe: measures the link. Gets the seconds that a mesh rank computes between two collectives. watch: gets what is
    measured, and the part that it is of, and gives it back one by one; may show progress, or raise.
    """
    start, seen = time.perf_counter(), watch or _unseen
    device, dtype = torch.device(settings.layout.device), dtype_of(settings)
    with torch.inference_mode():
        max_flops = _estimate_flops_s(device, dtype) * OPERATION_S
        call_s = _measure_call_s(device, dtype)
        rates = {
            part: _rates(time_operations(work.operations, device, max_flops, PART_S, partial(seen, part=part)), call_s)
            for part, work in profile.work.items()
            if part != "context"  # has the generator's operations
        }
    generator = profile.work["generator"]
    between_s = compute_seconds(generator, rates["generator"]) / (generator.reductions + generator.exchanges + 1)
    link = probe(between_s)
    on_cpu = device.type == "cpu"
    return Machine(
        device=settings.layout.device,
        torch_threads=torch.get_num_threads(),
        parallel_ranks=parallel_ranks(settings.layout.devices),
        memory_bytes=psutil.virtual_memory().total if on_cpu else device_properties(device).total_memory,
        rates=rates,
        link=link,
        calibration_s=time.perf_counter() - start,
    )


def _unseen(batches: Sequence[Batch], part: str) -> Iterable[Batch]:
    return batches


def parallel_ranks(devices: Sequence[str]) -> int | None:
    """How many of the ranks on these devices can compute at the same time; None where each has its own device."""
    if torch.device(devices[0]).type == "cpu":
        return max(1, _cores() // torch.get_num_threads())
    distinct = len(set(devices))
    return distinct if distinct < len(devices) else None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _rates(timed: list[TimedOperation], call_s: float) -> Rates:
    def rate(kind: Kind) -> float:
        of_kind = [t for t in timed if t.operation.kind == kind]
        seconds = sum(t.seconds * t.scale * t.operation.count for t in of_kind)
        return sum(t.operation.amount * t.operation.count for t in of_kind) / seconds if of_kind else 0.0

    by_kind = {f"{kind}_{'bytes' if kind == 'other' else 'flops'}_s": rate(kind) for kind in KINDS}
    return Rates(**by_kind, call_s=call_s)


def _estimate_flops_s(device: torch.device, dtype: torch.dtype) -> float:
    """A first estimate of the speed, from a 256 × 256 × 256 product."""
    matrix = torch.full((256, 256), 0.5, dtype=dtype, device=device)
    with counting() as product:
        linear(matrix, matrix)
    [timed] = time_operations(product.operations, device, math.inf, seconds=0.0)
    return timed.run.flops / timed.seconds


def _measure_call_s(device: torch.device, dtype: torch.dtype) -> float:
    """The cost of calling one operation from inside a module."""
    block = Block(TINY_BLOCK).to(device, dtype)
    x = torch.zeros(1, 1, TINY_BLOCK.dim, dtype=dtype, device=device)
    time_input = torch.zeros(1, 6, TINY_BLOCK.dim, dtype=dtype, device=device)
    rope = rope_table(TINY_BLOCK.head_dim, 0, 1, 1, 1, device)
    text = block.cross_attn.text_kv(x)

    def run() -> None:
        mod = block.modulate(time_input)
        _, _, v = block.attention_inputs(x, mod, rope)
        block.finish(x, v.flatten(2), text, mod)

    with counting() as counted:
        run()
    rounds, start = 0, time.perf_counter()
    while time.perf_counter() - start < CALL_S:
        run()
        rounds += 1
    synchronize(device)
    return (time.perf_counter() - start) / (rounds * counted.calls)
