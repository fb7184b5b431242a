"""Facts about this process: threads, title, memory."""

from __future__ import annotations

import os
import resource

import psutil
import torch


def limit_threads(count: int) -> None:
    """Torch threads of this process and of those it starts."""
    os.environ["OMP_NUM_THREADS"] = str(count)
    torch.set_num_threads(count)


def use_loopback_for_gloo() -> None:
    """Make gloo listen on loopback only; by itself it takes the address that the host's name resolves to."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(a.address == "127.0.0.1" for a in addresses):
            os.environ["GLOO_SOCKET_IFNAME"] = name
            return


def resident_bytes(pid: int) -> int:
    """What a process holds of the machine's memory now; 0 where it is gone."""
    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.NoSuchProcess:
        return 0


def peak_bytes(device: torch.device) -> int:
    """The most memory this process has held: on its GPU, or resident where there is none."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
