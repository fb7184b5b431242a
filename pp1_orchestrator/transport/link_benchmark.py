"""Measures how fast this machine passes messages, within a second and without starting a process.

Knows backends and devices, and nothing of what will be sent.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from statistics import fmean, median
from typing import Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import HashStore

from pp1_orchestrator.transport import shared_collectives

SMALL_BYTES = 64
COPY_S = 0.01
ROUNDS = 20
TICK_S = 1e-7
"""The shortest time that counts as more than nothing."""
LIMIT = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Probe:
    """What the link of a layout would do.

    message_s: seconds of one small message. sum_s: seconds of a small all-reduce over the mesh between two pieces of
    work, including the wait for the slowest rank. bytes_s: bytes a second. method: how this was measured.
    """

    message_s: float
    sum_s: float
    bytes_s: float
    method: str


def probe_link(backend: str, device: torch.device, ranks: int, nbytes: int, work_s: float) -> Probe:
    """Measure a small message and one of `nbytes`, and small all-reduces with `work_s` seconds of work in between.

    gloo: all-reduces over `ranks` threads, connected as a mesh's processes would be. Other backends: copies, on a GPU
    to the next GPU if there is one. A collective costs more than a copy.
    """
    target = device
    if device.type == "cuda" and torch.cuda.device_count() > 1:
        target = torch.device("cuda", ((device.index or 0) + 1) % torch.cuda.device_count())
    small, large = (_copy_seconds(device, target, size) for size in (SMALL_BYTES, nbytes))
    method = f"copies from {device} to {target}"
    copied_s, sum_s = max(large - small, TICK_S), small
    if backend == "gloo":
        small, large = (median(seconds) for seconds in _gloo_seconds(ranks, (SMALL_BYTES, nbytes), 0.0))
        sum_s = fmean(_gloo_seconds(ranks, (SMALL_BYTES,), work_s)[0])  # the mean: rare long waits count
        method = f"sums over {ranks} threads"
    # Noise may make the large message the faster one, but no link is faster than a copy.
    return Probe(small, sum_s, nbytes / max(large - small, copied_s), method)


def _copy_seconds(source: torch.device, target: torch.device, nbytes: int) -> float:
    data = torch.zeros(nbytes, dtype=torch.uint8, device=source)
    copy = torch.empty_like(data, device=target).copy_(data)
    rounds, start = 0, time.perf_counter()
    while time.perf_counter() - start < COPY_S:
        copy.copy_(data)
        if source.type == "cuda":
            torch.cuda.synchronize(source)
        rounds += 1
    return (time.perf_counter() - start) / rounds


def _gloo_seconds(ranks: int, sizes: tuple[int, ...], work_s: float) -> list[list[float]]:
    """Seconds of every all-reduce, by size. The sizes alternate."""
    store = HashStore()
    seconds: dict[int, list[float]] = {size: [] for size in sizes}

    def member(rank: int) -> None:
        group: Any = dist.ProcessGroupGloo(store, rank, ranks, LIMIT)
        shared = shared_collectives.attach(group, LIMIT.total_seconds()) if ranks > 1 else None

        def all_reduce(tensor: torch.Tensor) -> None:  # as `transport.process_groups.MeshShard` does it
            if shared is not None and shared.supports(tensor):
                shared.all_reduce_(tensor)
            else:
                group.allreduce([tensor]).wait()

        tensors = {size: torch.zeros(size, dtype=torch.uint8) for size in sizes}
        all_reduce(tensors[sizes[0]])
        for _ in range(ROUNDS):
            for size, tensor in tensors.items():
                _work(work_s)
                start = time.perf_counter()
                all_reduce(tensor)
                if rank == 0:
                    seconds[size].append(time.perf_counter() - start)

    with ThreadPoolExecutor(ranks) as pool:
        list(pool.map(member, range(ranks)))  # raises a member's error
    return [seconds[size] for size in sizes]


def _work(seconds: float) -> None:
    """Compute without holding the interpreter lock."""
    matrix = torch.ones(256, 256)
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        torch.mm(matrix, matrix)
