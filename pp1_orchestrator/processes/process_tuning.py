"""Limits and tuning of this process: threads, memory, garbage collection, device, network interface."""

import ctypes
import gc
import os
import resource
import sys
from collections.abc import Iterable

import psutil
import torch

TRIM_BYTES, MMAP_BYTES = 1 << 28, 1 << 25
"""Freed memory that is kept, and the largest block of it: glibc takes no larger thresholds."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""From malloc.h."""
GC_THRESHOLDS = (700, 10, 2)
"""Python's are 700, 10, 10: full collections are more frequent, and short because the heap is frozen."""


def raise_file_limit() -> int:
    """Raise the limit on open files of this process, and of those that it starts, to the hard one. Returns it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard


def limit_threads(count: int) -> None:
    """Limit torch's threads in this process and in processes that it starts."""
    os.environ["OMP_NUM_THREADS"] = str(count)
    torch.set_num_threads(count)


def tune_malloc() -> None:
    """Keep freed memory in this process. A decoder allocates the same large blocks for each chunk, and the kernel would
    map them page by page every time. Does nothing where the C library is not glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, TRIM_BYTES)
        mallopt(_M_MMAP_THRESHOLD, MMAP_BYTES)


def tune_gc() -> None:
    """Call after loading. Freezes the loaded heap so that full collections stay short (150 ms → 20 ms).

    Python delays a full collection until the heap has grown by a quarter since the last one. The second `collect` makes
    it count from the unfrozen heap, which is nearly empty.
    """
    gc.collect()
    gc.freeze()
    gc.collect()
    gc.set_threshold(*GC_THRESHOLDS)


def set_environment(variables: Iterable[str], rank: int) -> None:
    """Set NAME=value variables that a backend reads at first use. `{rank}` in a value becomes the rank's number."""
    pairs = (variable.replace("{rank}", str(rank)).partition("=") for variable in variables)
    os.environ.update({name: value for name, _, value in pairs})


def select_device(device: torch.device, memory_share: float) -> None:
    """Make `device` torch's current one, and limit this process to `memory_share` of its memory.

    First frees what an earlier stream of this process has left: its parts refer to each other in cycles.
    """
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        index = torch.cuda.current_device() if device.index is None else device.index  # pyright: ignore[reportUnnecessaryComparison]
        torch.cuda.set_device(index)
        torch.cuda.set_per_process_memory_fraction(memory_share, index)  # pyright: ignore[reportUnknownMemberType]


def use_loopback_for_gloo() -> None:
    """Make gloo listen on loopback only. Its default is the address that the host name resolves to."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(a.address == "127.0.0.1" for a in addresses):
            os.environ["GLOO_SOCKET_IFNAME"] = name
            return


def resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 if it no longer exists."""
    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.NoSuchProcess:
        return 0


def peak_bytes(device: torch.device) -> int:
    """The peak of this process's memory: allocated on its GPU, or resident without one."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
