"""Measures this machine's rates by doing the model's own operations a few times.

Knows a device and what was counted; how messages are tried is the caller's to say.

The stated model of a machine: a few rates, measured on the spot, from which all times are predicted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

import msgspec
import psutil
import torch
from torch.nn.functional import linear

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.model import Block
from pp1_orchestrator.models.wan.rope import rope_table
from pp1_orchestrator.planning.op_benchmark import Timed, replay, synchronize
from pp1_orchestrator.planning.op_counter import KINDS, Kind, OpCounts, counting
from pp1_orchestrator.planning.profile import ModelProfile, dtype_of


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """How fast one rank does one part's own shapes; 0 where the part has no such work.

    flops_s of matrix products, attention and convolutions; bytes_s of everything else.
    """

    matmul_flops_s: float
    attention_flops_s: float
    conv_flops_s: float
    other_bytes_s: float


class LinkSpeed(msgspec.Struct, frozen=True, kw_only=True):
    """A message of n bytes takes message_s + n / bytes_s, a sum over the mesh sum_s + n / bytes_s.

    sum_s is met in the middle of work, and includes the wait for the slowest rank. method: how this was measured.
    """

    message_s: float
    sum_s: float
    bytes_s: float
    method: str

    def messages(self, count: int, nbytes: int) -> float:
        """Seconds of so many messages with so many bytes in all."""
        return count * self.message_s + nbytes / self.bytes_s

    def sums(self, count: int, nbytes: int) -> float:
        """Seconds of so many sums with so many bytes in all."""
        return count * self.sum_s + nbytes / self.bytes_s


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """call_s: the cost of one operation beside its own work, mostly Python's.

    lanes: ranks that can compute at the same time; None where each has a device of its own. memory_bytes: what the
    device has in all. calibration_s: what measuring took.
    """

    device: str
    torch_threads: int
    lanes: int | None
    memory_bytes: int
    rates: dict[str, Rates]
    call_s: float
    link: LinkSpeed
    calibration_s: float


def product_seconds(work: OpCounts, rates: Rates) -> float:
    """Time of a part's products alone. Raises ValueError for work of a kind whose rate was not measured."""
    loads = (
        (work.flops_of("matmul"), rates.matmul_flops_s),
        (work.flops_of("attention"), rates.attention_flops_s),
        (work.flops_of("conv"), rates.conv_flops_s),
    )
    return sum(_roofline_seconds(amount, rate) for amount, rate in loads)


def compute_seconds(work: OpCounts, rates: Rates, call_s: float) -> float:
    """Time of a part on one rank, without its sums over the mesh. Raises as `product_seconds` does."""
    return product_seconds(work, rates) + _roofline_seconds(work.other_bytes, rates.other_bytes_s) + work.calls * call_s


def _roofline_seconds(amount: int, rate: float) -> float:
    if amount and not rate:
        raise ValueError("there is work of a kind whose rate was not measured")
    return amount / rate if amount else 0.0


PART_S = 0.03
"""Time for the repetitions of one part's operations."""
OPERATION_S = 0.01
"""An operation that would take longer is done at a smaller size."""
CALL_S = 0.01
SMALL = WanConfig(dim=16, ffn_dim=16, num_heads=1, num_layers=1)
"""A block so small that nothing but calling its operations takes time."""


def calibrate(settings: Settings, found: ModelProfile, probe: Callable[[float], LinkSpeed]) -> Machine:
    """Measure on the layout's device, with as many torch threads as this process has now.

    probe: measures the link, given the seconds that a mesh rank computes between two sums.
    """
    start = time.perf_counter()
    device = torch.device(settings.layout.device)
    with torch.inference_mode():
        largest = _guess_flops_s(device, dtype_of(settings)) * OPERATION_S
        measured = {
            part: _rates(replay(work.operations, device, largest, PART_S))
            for part, work in found.work.items()
            if part != "context"  # the generator's operations again
        }
        call_s = _call_s(device, dtype_of(settings))
    mesh = found.work["generator"]
    between_s = compute_seconds(mesh, measured["generator"], call_s) / (mesh.reductions + 1)
    link = probe(between_s)
    on_cpu = device.type == "cpu"
    return Machine(
        device=settings.layout.device,
        torch_threads=torch.get_num_threads(),
        lanes=parallel_ranks(settings.layout.devices),
        memory_bytes=psutil.virtual_memory().total if on_cpu else torch.cuda.get_device_properties(device).total_memory,
        rates=measured,
        call_s=call_s,
        link=link,
        calibration_s=time.perf_counter() - start,
    )


def parallel_ranks(devices: Sequence[str]) -> int | None:
    """Ranks that can compute at the same time, of ranks on these devices; None where each has one of its own."""
    if torch.device(devices[0]).type == "cpu":
        return max(1, _cores() // torch.get_num_threads())
    cards = len(set(devices))
    return cards if cards < len(devices) else None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _rates(timed: list[Timed]) -> Rates:
    def rate(kind: Kind) -> float:
        own = [t for t in timed if t.operation.kind == kind]
        seconds = sum(t.seconds * t.scale * t.operation.count for t in own)
        return sum(t.operation.amount * t.operation.count for t in own) / seconds if own else 0.0

    return Rates(**{f"{kind}_{'bytes' if kind == 'other' else 'flops'}_s": rate(kind) for kind in KINDS})


def _guess_flops_s(device: torch.device, dtype: torch.dtype) -> float:
    """A first idea of the speed, from one product of 256 × 256 × 256."""
    matrix = torch.full((256, 256), 0.5, dtype=dtype, device=device)
    linear(matrix, matrix)
    synchronize(device)
    start = time.perf_counter()
    linear(matrix, matrix)
    synchronize(device)
    return 2 * 256**3 / (time.perf_counter() - start)


def _call_s(device: torch.device, dtype: torch.dtype) -> float:
    """What calling one operation costs from inside a module."""
    block = Block(SMALL).to(device, dtype)
    x = torch.zeros(1, 1, SMALL.dim, dtype=dtype, device=device)
    time_input = torch.zeros(1, 6, SMALL.dim, dtype=dtype, device=device)
    rope = rope_table(SMALL.head_dim, 0, 1, 1, 1, device)
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
