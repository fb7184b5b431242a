"""Where a generator's GPU time goes: the kernels of a chunk at a full window, by kind and by name. Random weights.

    python -m benchmarks.kernels --case 14B-320x576 --way captured

Printed before the kernels: milliseconds a chunk without a profiler, a median between device events. The kernels' own
times are means over the chunks that were watched.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.machine import describe
from benchmarks.rank_chunks import WAYS, RankChunks
from benchmarks.real_sizes import CASES, FRAMES, milliseconds
from pp1_orchestrator.models.wan.parallelize import Place

KINDS = {
    "attention": ("sdpa", "flash", "fmha", "attention"),
    "products": ("nvjet", "gemm", "cutlass", "gemv", "cublas", "splitk"),
    "copies": ("memcpy", "memset"),
}
REST = "the rest"
NAME_WIDTH = 90
Kernel = tuple[str, float, int]
"""Name, milliseconds and launches a chunk."""


def kind_of(name: str) -> str:
    lower = name.lower()
    return next((kind for kind, words in KINDS.items() if any(word in lower for word in words)), REST)


def watched(chunks: RankChunks, count: int) -> list[Kernel]:
    """All kernels of `count` chunks, the longest first."""
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        for _ in range(count):
            chunks()
        torch.cuda.synchronize()
    on_gpu = [event for event in seen.key_averages() if event.device_type == DeviceType.CUDA]
    kernels = [(event.key, event.self_device_time_total / 1e3 / count, event.count // count) for event in on_gpu]
    return sorted(kernels, key=lambda kernel: -kernel[1])


def kind_rows(kernels: Iterable[Kernel]) -> list[str]:
    totals: dict[str, tuple[float, int]] = {}
    for name, ms, launches in kernels:
        before = totals.get(kind_of(name), (0.0, 0))
        totals[kind_of(name)] = before[0] + ms, before[1] + launches
    ordered = sorted(totals.items(), key=lambda item: -item[1][0])
    return [f"| {kind} | {ms:.1f} | {launches} |" for kind, (ms, launches) in ordered]


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, default="14B-320x576")
    parser.add_argument("--way", choices=WAYS, default="captured")
    parser.add_argument("--chunks", type=int, default=5)
    parser.add_argument("--top", type=int, default=20, help="kernels named")
    options = parser.parse_args()
    chunks = RankChunks(CASES[options.case], Place(0, 1), torch.device("cuda"), torch.bfloat16, options.way)
    # Every position of the ring is visited twice before anything is timed: what is captured is there then.
    chunks.fill(3 * CASES[options.case].window // FRAMES)
    middle, least, most = milliseconds(chunks, options.chunks)
    kernels = watched(chunks, options.chunks)
    sys.stdout.write(f"{describe()}\n\n{options.case}, {options.way}: ")
    sys.stdout.write(f"{middle:.1f} ({least:.1f}–{most:.1f}) ms a chunk\n")
    sys.stdout.write("\n| kind | ms | launches |\n|---|---|---|\n" + "\n".join(kind_rows(kernels)) + "\n")
    sys.stdout.write("\n| kernel | ms | launches |\n|---|---|---|\n")
    for name, ms, launches in kernels[: options.top]:
        sys.stdout.write(f"| {name[:NAME_WIDTH]} | {ms:.2f} | {launches} |\n")


if __name__ == "__main__":
    main()
