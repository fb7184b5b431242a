"""Measures a machine for `run=plan machine=NAME`, and writes it as files for `--config-dir`. Knows no model's periods.

    python -m benchmarks.machine_rates --name mine --out my_options     # two minutes on a GPU
    pp1 --config-dir my_options run=plan machine=mine

Products, convolutions, attention and passes over memory are timed at many sizes, each for `--seconds`. With several
GPUs all-reduces are timed, too. Needs torch, PyYAML, psutil and this checkout. FlashAttention-4 is measured beside
cuDNN where it is installed. The peaks of the GPU are left null: rates that were measured on it need none.
"""

import argparse
import datetime
import os
import platform
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import yaml

from pp1_orchestrator.models.wan.ops.split_kv_attention import FLASH, attention_kernel, cudnn, flash_version
from pp1_orchestrator.planning import microbenchmarks as micro
from pp1_orchestrator.planning.measured_rates import core_rates, gpu_rates
from pp1_orchestrator.planning.microbenchmarks import Stopwatch
from pp1_orchestrator.transport.link_benchmark import probe_link
from pp1_orchestrator.typed_torch import device_properties

SUMS = [1 << shift for shift in (12, 16, 18, 20, 22, 24, 26)]
ALL_REDUCES, TYPICAL_SUM = 20, 1 << 24
MAX_HOST_S = 0.02
LIMIT = datetime.timedelta(seconds=120)


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


def all_reduces(gpus: int) -> list[tuple[int, float]]:
    """All-reduces over so many GPUs: bytes, and seconds of one, captured as in a mesh."""
    if gpus < 2:
        return []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with mp.Manager() as manager:
        seconds: Any = manager.list()
        mp.start_processes(sum_rank, (gpus, port, seconds), nprocs=gpus, start_method="spawn")
        return list(zip(SUMS, seconds, strict=True))


def host_rates(seconds: float) -> dict[str, Any]:
    """A core of the host, and messages between two of its processes."""
    probe = probe_link("gloo", torch.device("cpu"), 2, 1 << 20, 1e-3)
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    found = {"name": names[0] if names else platform.machine(), "source": source()}
    return {
        **found,
        "message_s": rounded(probe.message_s),
        "message_bytes_s": rounded(probe.bytes_s),
        **core_rates(seconds),
    }


def device_rates(device: torch.device, seconds: float, only: Sequence[str]) -> dict[str, Any]:
    """One GPU."""
    free, total = torch.cuda.mem_get_info(device)
    context = total - free - torch.cuda.memory_reserved(device)
    found = {"name": device_properties(device).name, "source": source(), "context_bytes": context}
    return {**found, "call_s": rounded(micro.call_seconds(device)), **gpu_rates(Stopwatch(device, seconds), only)}


def source() -> str:
    """When and with what."""
    versions = f"torch {torch.__version__}, flash-attn-4 {flash_version()}, Python {platform.python_version()}"
    return f"measured {datetime.datetime.now(datetime.UTC).date()} by benchmarks.machine_rates, {versions}"


def machine(name: str, device: torch.device, rates: dict[str, Path], link: dict[str, float]) -> dict[str, Any]:
    """The settings of the group `machine`, which name the rates' files."""
    on_gpu = device.type == "cuda"
    properties = device_properties(device) if on_gpu else None
    flash = on_gpu and attention_kernel(device, torch.bfloat16, 128) is not cudnn
    return {
        "name": name,
        "source": source(),
        "gpus": torch.cuda.device_count() if on_gpu else 0,
        "gpu": properties.name if properties else None,
        "memory_gib": round(torch.cuda.mem_get_info(device)[1] / 2**30, 2) if on_gpu else None,
        **dict.fromkeys(("bf16_tflops", "fp8_tflops", "fp32_tflops", "bandwidth_gb_s")),
        "processors": properties.multi_processor_count if properties else None,
        "attention": (FLASH if flash else "cudnn") if on_gpu else None,
        "rates": str(rates["gpu"].resolve()) if on_gpu else None,
        "link": "measured" if link else None,
        "link_gb_s": link.get("gb_s"),
        "link_latency_us": link.get("latency_us"),
        "host_cores": os.cpu_count(),
        "host_memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "host_rates": str(rates["host"].resolve()),
    }


def link_of(all_reduces: Sequence[tuple[int, float]], ranks: int) -> dict[str, float]:
    """A ring's latency, and bytes a second in one direction at the size that a model's all-reduces have."""
    if not all_reduces:
        return {}
    latency, (nbytes, seconds) = all_reduces[0][1], min(all_reduces, key=lambda pair: abs(pair[0] - TYPICAL_SUM))
    moved = 2 * (ranks - 1) / ranks * nbytes
    return {"gb_s": rounded(moved / (seconds - latency) / 1e9), "latency_us": rounded(latency * 1e6)}


def rounded(number: float) -> float:
    """To three digits."""
    return float(f"{number:.3g}")


class _Flow(yaml.SafeDumper):
    """Tables as one line for each row."""


def _represent(dumper: yaml.SafeDumper, rows: list[Any]) -> yaml.Node:
    flow = all(isinstance(value, int | float) for value in rows)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", rows, flow_style=flow)


_Flow.add_representer(list, _represent)


@torch.inference_mode()
def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="mine", help="the machine's, and the files'")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", type=torch.device)
    parser.add_argument("--seconds", default=0.06, type=float, help="spent on each size")
    parser.add_argument("--only", nargs="*", default=[], help="of a GPU's rates, such as: copies rows")
    parser.add_argument("--out", type=Path, default=Path(), help="the folder to write to")
    options = parser.parse_args(words)
    start, folder, device = time.monotonic(), options.out / "machine", options.device
    found = {"host": host_rates(min(options.seconds, MAX_HOST_S))}
    gpus = torch.cuda.device_count() if device.type == "cuda" else 0
    if gpus:
        found["gpu"] = device_rates(device, options.seconds, options.only)
    paths = {part: options.out / "rates" / f"{options.name}_{part}.yaml" for part in found}
    link = link_of(all_reduces(gpus), gpus)
    files = {paths[part]: rates for part, rates in found.items()}
    files[folder / f"{options.name}.yaml"] = machine(options.name, device, paths, link)
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.dump(content, Dumper=_Flow, sort_keys=False))
        sys.stdout.write(f"{path}\n")
    sys.stderr.write(f"measured in {time.monotonic() - start:.0f} s\n")


if __name__ == "__main__":
    main()
