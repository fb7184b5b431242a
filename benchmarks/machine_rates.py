"""Measures a machine for `run=plan machine=…`, and prints it as a file of conf/machine/. Knows no model's periods.

    python -m benchmarks.machine_rates --name h200x2 --out h200x2.yaml       # on a GPU, two minutes
    python -m benchmarks.machine_rates --name laptop --device cpu --seconds 0.02

Products, convolutions, attention and passes over memory are timed at sizes of this kind of model and at round ones,
each for `--seconds`, by `planning.microbenchmarks`. With several GPUs all-reduces are timed, too. Needs torch and this
checkout; FlashAttention-4 is measured beside cuDNN where it is installed.
"""

import argparse
import datetime
import os
import platform
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import yaml

from pp1_orchestrator.models.wan.ops.quantize import FP8
from pp1_orchestrator.models.wan.ops.split_kv_attention import FLASH, NONE, attention_kernel, cudnn, flash_version
from pp1_orchestrator.planning import microbenchmarks as micro
from pp1_orchestrator.planning.microbenchmarks import Rate, Sample, Stopwatch
from pp1_orchestrator.transport.link_benchmark import probe_link
from pp1_orchestrator.typed_torch import device_properties

WIDTHS = ((1536, 8960), (5120, 13824))
"""Width and feed-forward of transformers."""
TOKENS, TEXT_TOKENS = (2160, 4680), 512
RANKS = (1, 2, 4)
ROUND = [(m, n, n) for m in (256, 1024, 4096, 8192) for n in (1024, 4096, 8192)]
TEXT_WIDTHS = ((4096, 4096), (10240, 4096), (4096, 10240), (1536, 1536), (5120, 5120))
TEXT = [(TEXT_TOKENS, n, k) for n, k in TEXT_WIDTHS]
SINGLE = [(1, 9216, 1536), (1, 30720, 5120)]
SMALL = [(m, n, k) for m in (48, 192) for n, k in ((192, 192), (384, 192), (640, 192), (192, 640))]
HEADS = (1, 3, 6, 12, 24, 40)
KEYS = {2160: (2160, 4320, 5040, 7560, 15120), 4680: (4680, 8190, 9360, 16380, 32760)}
"""By queries. A cache is also attended to in equal parts."""
ATTENTION = [(128, heads, queries, keys) for heads in HEADS for queries, found in KEYS.items() for keys in found]
ATTENTION += [(128, heads, queries, TEXT_TOKENS) for heads in (3, 6, 10, 12, 20, 40) for queries in TOKENS]
OTHER_HEADS = [(64, 64, 512, 512), (384, 3, 2880, 2880), (384, 3, 6240, 6240), (384, 1, 2880, 2880)]
SMALL_ATTENTION = [(48, 2, 192, 768), (48, 4, 192, 768), (48, 4, 192, 48)]
CPU_ATTENTION = [(128, 2, 512, 512), (128, 2, 512, 2048)]
CHANNELS = (96, 192, 384)
GRIDS = ((3, 40, 72), (6, 80, 144), (12, 160, 288), (12, 320, 576))
CONVOLUTIONS = [(f, i, c, h, w) for f, h, w in GRIDS for c in CHANNELS for i in (c, 3 * c) if h <= 80 or c <= 192]
CONVOLUTIONS += [(12, 384, 192, 160, 288), (12, 192, 96, 320, 576), (12, 288, 96, 480, 832), (1, 96, 96, 320, 576)]
CONVOLUTIONS += [(12, 72, 24, 320, 576), (12, 144, 48, 160, 288), (12, 128, 64, 320, 576), (3, 512, 256, 40, 72)]
SMALL_CONVOLUTIONS = [(3, 96, 32, 16, 16), (6, 96, 32, 32, 32), (12, 48, 16, 64, 64), (12, 48, 16, 128, 128)]
COPIES = [1 << shift for shift in (18, 20, 22, 24, 26, 28, 30)]
ROWS = [(192, 192), (2160, 1536), (4680, 1536), (2160, 5120), (4680, 5120), (2160, 13824)]
PASSES = [(12, 96, 320, 576), (12, 192, 160, 288), (6, 384, 80, 144)]
SUMS = [1 << shift for shift in (12, 16, 18, 20, 22, 24, 26)]
ALL_REDUCES = 20
WARM_UP_S = 4.0
LIMIT = datetime.timedelta(seconds=120)


def block_products() -> list[Sample]:
    """The products of a transformer's block, whole and split over ranks by columns or by rows."""
    found: list[Sample] = []
    for m in TOKENS:
        for dim, hidden in WIDTHS:
            for d in RANKS:
                found += [(m, 2 * dim // d, dim), (m, dim // d, dim), (m, dim, dim // d)]
                found += [(m, hidden // d, dim), (m, dim, hidden // d)]
    return list(dict.fromkeys(found))


def table(rates: Sequence[Rate]) -> list[list[float]]:
    """As rows of a file: the size, then 10⁹ a second."""
    return [[*size, float(f"{rate / 1e9:.4g}")] for size, rate in rates]


def gpu_rates(watch: Stopwatch) -> dict[str, Any]:
    """All that is measured on one GPU."""
    device, half = watch.device, torch.bfloat16
    end = time.monotonic() + WARM_UP_S
    while time.monotonic() < end:  # so that the first figures are at the power limit as well
        micro.products(watch, half, [(8192, 8192, 8192)])
    products = block_products() + ROUND + TEXT + SINGLE
    by_type = {"bfloat16": table(micro.products(watch, half, products))}
    if torch.cuda.get_device_capability(device) >= (8, 9):
        by_type["float8_e4m3fn"] = table(micro.products(watch, FP8, [size for size in products if size[0] > 1]))
    by_type["float32"] = table(micro.products(watch, torch.float32, SMALL + ROUND[:6]))
    attention = {"cudnn": {"bfloat16": table(micro.attention(watch, half, ATTENTION, cudnn))}}
    kernel = attention_kernel(device, half, 128)
    if flash_version() != NONE and kernel is not cudnn:
        attention[FLASH] = {"bfloat16": table(micro.attention(watch, half, ATTENTION, kernel))}
    attention["torch"] = {
        "bfloat16": table(micro.attention(watch, half, OTHER_HEADS)),
        "float32": table(micro.attention(watch, torch.float32, SMALL_ATTENTION)),
    }
    return {
        "launch_s": float(f"{micro.launch_seconds(watch):.3g}"),
        "products": by_type,
        "convolutions": {
            "bfloat16": table(micro.convolutions(watch, half, CONVOLUTIONS)),
            "float32": table(micro.convolutions(watch, torch.float32, SMALL_CONVOLUTIONS)),
        },
        "attention": attention,
        "copies": table(micro.copies(watch, COPIES)),
        "rows": table(micro.rows(watch, half, ROWS)),
        "passes": table(micro.compiled_passes(watch, half, PASSES)),
    }


def cpu_rates(seconds: float) -> dict[str, Any]:
    """The same on one core of the host, at sizes that it can do."""
    watch, types = Stopwatch(torch.device("cpu"), seconds), {"float32": torch.float32, "bfloat16": torch.bfloat16}
    sizes = SMALL_ATTENTION + CPU_ATTENTION
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found: dict[str, Any] = {
        "call_s": float(f"{micro.call_seconds(watch.device):.3g}"),
        "products": {name: table(micro.products(watch, kind, SMALL + ROUND[:2])) for name, kind in types.items()},
        "convolutions": {n: table(micro.convolutions(watch, kind, SMALL_CONVOLUTIONS)) for n, kind in types.items()},
        "attention": {"torch": {name: table(micro.attention(watch, kind, sizes)) for name, kind in types.items()}},
        "copies": table(micro.copies(watch, COPIES[:5])),
        "rows": table(micro.rows(watch, torch.float32, ROWS[:2])),
    }
    torch.set_num_threads(threads)
    return found


def sum_rank(rank: int, ranks: int, port: int, seconds: list[float]) -> None:
    """One rank of the all-reduces; the first leaves what one takes, by size."""
    torch.cuda.set_device(rank)
    store = dist.TCPStore("127.0.0.1", port, ranks, rank == 0, timeout=LIMIT)
    dist.init_process_group("nccl", store=store, rank=rank, world_size=ranks, timeout=LIMIT)
    for nbytes in SUMS:
        tensor = torch.zeros(nbytes // 2, dtype=torch.bfloat16, device="cuda")
        dist.all_reduce(tensor)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            for _ in range(ALL_REDUCES):
                dist.all_reduce(tensor)
        times: list[float] = []
        for _ in range(20):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            graph.replay()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end) / 1e3 / ALL_REDUCES)
        del graph
        if rank == 0:
            seconds.append(sorted(times)[len(times) // 2])
    torch.cuda.synchronize()
    dist.destroy_process_group()


def link_rates(gpus: int) -> dict[str, Any]:
    """All-reduces over so many GPUs: bytes, and seconds of one, captured as in a mesh."""
    if gpus < 2:
        return {}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with mp.Manager() as manager:
        seconds: Any = manager.list()
        mp.start_processes(sum_rank, (gpus, port, seconds), nprocs=gpus, start_method="spawn")
        pairs = [[nbytes, float(f"{s:.3g}")] for nbytes, s in zip(SUMS, seconds, strict=True)]
    return {"ranks": gpus, "all_reduce": pairs}


def host(seconds: float) -> dict[str, Any]:
    """The host: its processor, and messages between two of its processes."""
    probe = probe_link("gloo", torch.device("cpu"), 2, 1 << 20, 1e-3)
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "name": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "message_s": float(f"{probe.message_s:.3g}"),
        "bytes_s": float(f"{probe.bytes_s:.3g}"),
        "rates": cpu_rates(seconds),
    }


def gpu(device: torch.device, seconds: float) -> dict[str, Any]:
    """One GPU: what it is, and its rates."""
    properties = device_properties(device)
    free, total = torch.cuda.mem_get_info(device)
    return {
        "name": properties.name,
        "capability": [properties.major, properties.minor],
        "processors": properties.multi_processor_count,
        "memory_bytes": total,
        "context_bytes": total - free - torch.cuda.memory_reserved(device),
        "call_s": float(f"{micro.call_seconds(device):.3g}"),
        "host_copy_bytes_s": float(f"{micro.host_copy_bytes_s(device):.3g}"),
        "rates": gpu_rates(Stopwatch(device, seconds)),
    }


def measured(name: str, device: torch.device, seconds: float) -> dict[str, Any]:
    """The whole machine."""
    versions = f"torch {torch.__version__}, flash-attn-4 {flash_version()}, Python {platform.python_version()}"
    source = f"measured {datetime.datetime.now(datetime.UTC).date()} by benchmarks.machine_rates, {versions}"
    gpus = torch.cuda.device_count() if device.type == "cuda" else 0
    found: dict[str, Any] = {"name": name, "source": source, "gpus": gpus, "host": host(min(seconds, 0.02))}
    return found | ({"gpu": gpu(device, seconds), "link": link_rates(gpus)} if gpus else {})


class _Flow(yaml.SafeDumper):
    """Tables as one line for each row."""


def _represent(dumper: yaml.SafeDumper, rows: list[Any]) -> yaml.Node:
    flow = all(isinstance(value, int | float) for value in rows)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", rows, flow_style=flow)


_Flow.add_representer(list, _represent)


@torch.inference_mode()
def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="mine", help="the machine's, and the file's")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", type=torch.device)
    parser.add_argument("--seconds", default=0.06, type=float, help="spent on each size")
    parser.add_argument("--out", type=Path, help="the file to write; by default the standard output")
    options = parser.parse_args(words)
    start = time.monotonic()
    text = yaml.dump(measured(options.name, options.device, options.seconds), Dumper=_Flow, sort_keys=False)
    write: Callable[[str], object] = options.out.write_text if options.out else sys.stdout.write
    write(text)
    sys.stderr.write(f"measured in {time.monotonic() - start:.0f} s\n")


if __name__ == "__main__":
    main()
