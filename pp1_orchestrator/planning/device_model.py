"""How long a device takes for counted operations, from rates that were measured by operation and size.

A GPU that was not measured reaches the same share of its peak as the one that was. Knows nothing of ranks or models.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from pp1_orchestrator.models.wan.ops.split_kv_attention import num_splits
from pp1_orchestrator.planning.calibrate import Rates
from pp1_orchestrator.planning.op_counter import FUSED, KINDS, OWN, Kind, OpCounts, Operation
from pp1_orchestrator.planning.rate_tables import (
    KERNELS,
    BandwidthCurve,
    ByType,
    RateTable,
    RateTables,
    convolution_rows,
)

HISTORY_KERNEL = "cudnn_attention"
"""In the name of attention that a captured pass gives to the fastest kernel, over keys in equal parts."""
SAME_SPEED = {"float16": "bfloat16"}


@dataclass(frozen=True, slots=True)
class DeviceTraits:
    """peaks: FLOPs a second by type, and bandwidth: bytes a second, by the datasheet; empty and None for the device
    that was measured. attention: the kernel of captured passes. processors: multiprocessors of a GPU, 0 of a CPU.
    workers: CPU threads.
    """

    peaks: Mapping[str, float]
    bandwidth: float | None
    attention: str = "torch"
    processors: int = 0
    workers: int = 1


class DeviceModel:
    """One device."""

    def __init__(self, tables: RateTables, traits: DeviceTraits) -> None:
        self._tables, self._traits = tables, traits
        half = traits.bandwidth, tables.bandwidth_gb_s
        self._memory = half[0] / (half[1] * 1e9) if half[0] and half[1] else 1.0
        kernels = tables.attention
        torch_kernels = _merged(*(kernels[name] for name in KERNELS if name in kernels))
        self._kinds: dict[str, dict[str, RateTable]] = {
            "matmul": _by_type(tables.products),
            "conv": _by_type({name: convolution_rows(rows) for name, rows in tables.convolutions.items()}),
            "attention": _by_type(torch_kernels),
            "history": _by_type(_merged(kernels.get(traits.attention, torch_kernels))),
        }
        self._copies, self._rows = BandwidthCurve(tables.copies), BandwidthCurve(tables.rows)

    def rates(self, work: OpCounts, *, launched: bool) -> Rates:
        """The mean rate of each kind of work. launched: by Python, operation by operation; otherwise from a graph.

        A GPU computes while Python launches, so that only the longer of the two counts. A CPU does one after the other.
        """
        spent = dict.fromkeys(KINDS, 0.0)
        amount = dict.fromkeys(KINDS, 0)
        for op in work.operations:
            spent[op.kind] += op.count * self.seconds(op)
            amount[op.kind] += op.count * op.amount
        host = work.calls * self._tables.call_s if launched else 0.0
        waiting = max(0.0, host - sum(spent.values())) if self._traits.processors else host
        rate = {kind: amount[kind] / spent[kind] if spent[kind] else 0.0 for kind in KINDS}
        return Rates(
            matmul_flops_s=rate["matmul"],
            attention_flops_s=rate["attention"],
            conv_flops_s=rate["conv"],
            other_bytes_s=rate["other"],
            call_s=waiting / work.calls if work.calls else 0.0,
        )

    def seconds(self, op: Operation) -> float:
        """Of one call."""
        if op.kind == "other":
            return self._pass_seconds(op.name, op.nbytes)
        if op.kind == "attention" and HISTORY_KERNEL in op.name:
            return self._history_seconds(op)
        return max(self._flops_seconds(op.kind, op.dtype, op.size, op.flops), self._pass_seconds("", op.nbytes))

    def _flops_seconds(self, kind: Kind | str, dtype: str, size: tuple[int, ...], flops: int) -> float:
        tables, dtype = self._kinds[kind], SAME_SPEED.get(dtype, dtype)
        measured = dtype if dtype in tables else next(iter(tables))
        own, theirs = self._traits.peaks.get(dtype), self._tables.peaks_tflops.get(measured)
        share = own / (theirs * 1e12) if own and theirs else 1.0
        return flops / (tables[measured].rate(size) * share * self._traits.workers)

    def _history_seconds(self, op: Operation) -> float:
        width, heads, queries, keys = op.size
        splits = num_splits(queries, keys, heads, self._traits.processors)
        size = width, heads * splits, queries, keys // splits
        merged = (splits + 1) * heads * queries * width * torch.bfloat16.itemsize if splits > 1 else 0
        return self._flops_seconds("history", op.dtype, size, op.flops) + self._pass_seconds(OWN, merged)

    def _pass_seconds(self, name: str, nbytes: int) -> float:
        if not nbytes:
            return 0.0
        curve = self._rows if name.startswith((OWN, FUSED)) else self._copies
        return max(self._tables.launch_s, nbytes / (curve.rate(nbytes) * self._memory * self._traits.workers))


def _by_type(rows: ByType) -> dict[str, RateTable]:
    return {name: RateTable(found) for name, found in rows.items() if found}


def _merged(*kernels: ByType) -> ByType:
    names = dict.fromkeys(name for kernel in kernels for name in kernel)
    return {name: tuple(row for kernel in kernels for row in kernel.get(name, ())) for name in names}


def total_seconds(model: DeviceModel, operations: Iterable[Operation]) -> float:
    """Of all their calls."""
    return math.fsum(op.count * model.seconds(op) for op in operations)
