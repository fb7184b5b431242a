"""How fast this machine passes messages, found out in a moment and without starting a process.

Knows backends and devices; nothing of what will be sent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from statistics import fmean, median
from typing import Any

import torch
import torch.distributed as dist

from pp1_orchestrator.transport import shared_all_reduce as shared_sums

SMALL_BYTES = 64
COPY_S = 0.01
ROUNDS = 20
TICK_S = 1e-7
"""The shortest time worth telling apart from nothing."""
LIMIT = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Probe:
    """message_s: of one small message; sum_s: of a small sum over the mesh between two pieces of work, the wait for
    the slowest rank included; bytes_s: what each byte adds. method: how this was found."""

    message_s: float
    sum_s: float
    bytes_s: float
    method: str


def probe_link(backend: str, device: torch.device, ranks: int, nbytes: int, work_s: float) -> Probe:
    """Try a small message and one of `nbytes`, with `work_s` seconds of computing between two sums, as a mesh has it.

    gloo: sums over `ranks` threads that are connected as processes would be, through memory that they share where a
    mesh does so. Elsewhere: copies, on a GPU to the next one if there is one; a collective costs more than that.
    """
    target = _copy_target(device)
    small, large = (_seconds(_copy(device, target, size), device) for size in (SMALL_BYTES, nbytes))
    method = f"copies from {device} to {target}"
    copied_s, sum_s = max(large - small, TICK_S), small
    if backend == "gloo":
        small, large = (median(seconds) for seconds in _gloo_seconds(ranks, (SMALL_BYTES, nbytes), 0.0))
        sum_s = fmean(_gloo_seconds(ranks, (SMALL_BYTES,), work_s)[0])  # its rare long waits are a part of it
        method = f"sums over {ranks} threads"
    # Noise may make the large message the quicker one; bytes never pass faster than they are copied.
    return Probe(small, sum_s, nbytes / max(large - small, copied_s), method)


def _copy_target(device: torch.device) -> torch.device:
    if device.type == "cuda" and torch.cuda.device_count() > 1:
        return torch.device("cuda", ((device.index or 0) + 1) % torch.cuda.device_count())
    return device


def _copy(source: torch.device, target: torch.device, nbytes: int) -> Callable[[], object]:
    data = torch.zeros(nbytes, dtype=torch.uint8, device=source)
    room = torch.empty_like(data, device=target)
    return lambda: room.copy_(data)


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    call()
    rounds, start = 0, time.perf_counter()
    while time.perf_counter() - start < COPY_S:
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        rounds += 1
    return (time.perf_counter() - start) / rounds


def _gloo_seconds(ranks: int, sizes: tuple[int, ...], work_s: float) -> list[list[float]]:
    """Seconds of each sum, by size. The sizes take turns, and every member makes the same number of sums."""
    store = dist.HashStore()
    seconds: dict[int, list[float]] = {size: [] for size in sizes}

    def member(rank: int) -> None:
        group: Any = dist.ProcessGroupGloo(store, rank, ranks, LIMIT)
        add = _way_to_sum(group, ranks)
        tensors = {size: torch.zeros(size, dtype=torch.uint8) for size in sizes}
        add(tensors[sizes[0]])
        for _ in range(ROUNDS):
            for size, tensor in tensors.items():
                _work(work_s)
                start = time.perf_counter()
                add(tensor)
                if rank == 0:
                    seconds[size].append(time.perf_counter() - start)

    threads = [threading.Thread(target=member, args=(rank,), daemon=True) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [seconds[size] for size in sizes]


def _way_to_sum(group: Any, ranks: int) -> Callable[[torch.Tensor], object]:
    """What a mesh's ranks would use (`transport.groups.MeshShard`)."""
    shared = shared_sums.attach(group, LIMIT.total_seconds()) if ranks > 1 else None

    def add(tensor: torch.Tensor) -> None:
        if shared is not None and shared.fits(tensor):
            shared.add(tensor)
        else:
            group.allreduce([tensor]).wait()

    return add


def _work(seconds: float) -> None:
    """Compute for a while, without holding the interpreter."""
    matrix = torch.ones(256, 256)
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        torch.mm(matrix, matrix)
