"""Where a generator's GPU time goes: the kernels of a chunk at a full window, by kind and by name. Random weights.

    python -m benchmarks.kernels --case 14B-320x576 --way captured

First prints the milliseconds per chunk without a profiler, a median between device events. The times of the kernels are
means over the profiled chunks. On a CPU, torch's operators take the place of kernels (`--case small --way eager`).
"""

import argparse
import sys
from collections.abc import Iterable, Sequence

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.machine import describe
from benchmarks.rank_chunks import WAYS, RankChunks
from benchmarks.sizes import ALL_CASES, PIXEL_FRAMES
from benchmarks.timing import device_named, milliseconds, spread, wait_for
from pp1_orchestrator.models.wan.tensor_parallel import Place

KINDS = {
    "attention": ("sdpa", "flash", "fmha", "attention"),
    "products": ("nvjet", "gemm", "cutlass", "gemv", "cublas", "splitk", "::mm", "::addmm", "::bmm"),
    "copies": ("memcpy", "memset"),
}
REST = "the rest"
NAME_WIDTH = 90
Kernel = tuple[str, float, int]
"""Name, milliseconds and launches a chunk."""


def kind_of(name: str) -> str:
    lower = name.lower()
    return next((kind for kind, words in KINDS.items() if any(word in lower for word in words)), REST)


def watched(chunks: RankChunks, count: int, device: torch.device) -> list[Kernel]:
    """All kernels of `count` chunks, the longest first."""
    on_gpu = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as seen:
        for _ in range(count):
            chunks()
        wait_for(device)
    kind = DeviceType.CUDA if on_gpu else DeviceType.CPU
    events = [event for event in seen.key_averages() if event.device_type == kind]
    spent = [event.self_device_time_total if on_gpu else event.self_cpu_time_total for event in events]
    kernels = [(event.key, us / 1e3 / count, event.count // count) for event, us in zip(events, spent, strict=True)]
    return sorted(kernels, key=lambda kernel: -kernel[1])


def kind_rows(kernels: Iterable[Kernel]) -> list[str]:
    totals: dict[str, tuple[float, int]] = {}
    for name, ms, launches in kernels:
        before = totals.get(kind_of(name), (0.0, 0))
        totals[kind_of(name)] = before[0] + ms, before[1] + launches
    ordered = sorted(totals.items(), key=lambda item: -item[1][0])
    return [f"| {kind} | {ms:.1f} | {launches} |" for kind, (ms, launches) in ordered]


@torch.inference_mode()
def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=ALL_CASES, default="14B-320x576")
    parser.add_argument("--way", choices=WAYS, default="captured")
    parser.add_argument("--chunks", type=int, default=5)
    parser.add_argument("--top", type=int, default=20, help="how many kernels are listed")
    parser.add_argument("--device", type=device_named, default="cuda")
    options = parser.parse_args(words)
    chunks = RankChunks(ALL_CASES[options.case], Place(0, 1), options.device, torch.bfloat16, options.way)
    chunks.fill()
    times = milliseconds(chunks, options.chunks, options.device)
    kernels = watched(chunks, options.chunks, options.device)
    sys.stdout.write(f"{describe()}\n\n{options.case}, {options.way}: {spread(times)} ms per chunk, ")
    sys.stdout.write(f"{PIXEL_FRAMES * 1e3 / times[0]:.1f} FPS\n")
    sys.stdout.write("\n| kind | ms | launches |\n|---|---|---|\n" + "\n".join(kind_rows(kernels)) + "\n")
    sys.stdout.write("\n| kernel | ms | launches |\n|---|---|---|\n")
    for name, ms, launches in kernels[: options.top]:
        sys.stdout.write(f"| {name[:NAME_WIDTH]} | {ms:.2f} | {launches} |\n")


if __name__ == "__main__":
    main()
