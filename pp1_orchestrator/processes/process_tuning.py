"""Facts about this process: threads, title, memory."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
from collections.abc import Iterable

import psutil
import torch

KEPT_BYTES, LARGEST_KEPT = 1 << 28, 1 << 25
"""So much of freed memory stays at most, in pieces up to this large: more than that glibc's thresholds do not take."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Their numbers in malloc.h."""
GC_THRESHOLDS = (700, 10, 2)
"""Allocations, and collections of the younger generation, until the next one; the last is 10 by itself."""


def limit_threads(count: int) -> None:
    """Torch threads of this process and of those it starts."""
    os.environ["OMP_NUM_THREADS"] = str(count)
    torch.set_num_threads(count)


def tune_malloc() -> None:
    """Freed memory stays with this process: a decoder wants the same large pieces for each chunk, and the kernel would
    hand them out anew, page by page. Only where C's library is glibc, which alone gives them back by itself."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(_MMAP_THRESHOLD, LARGEST_KEPT)


def tune_gc() -> None:
    """Once all is loaded. Else each full collection walks all of torch, and holds viewers and pacer up for 150 ms; and
    what a few dozen offers leave behind in cycles is let go in pieces of 20 ms, not at once.

    Python puts a full collection off until a quarter has been added to what the last one left. So the last one of here
    is of what is not frozen, which is nearly nothing: else what viewers leave behind would stay until it was as much as
    that of torch.
    """
    gc.collect()
    gc.freeze()
    gc.collect()
    gc.set_threshold(*GC_THRESHOLDS)


def use_environment(variables: Iterable[str], rank: int) -> None:
    """Set what a backend reads when it is first used: NAME=value, where `{rank}` stands for the rank's number."""
    pairs = (variable.replace("{rank}", str(rank)).partition("=") for variable in variables)
    os.environ.update({name: value for name, _, value in pairs})


def use_device(device: torch.device, memory_share: float) -> None:
    """Make it the one that libraries take by themselves, and bound what this process may hold of it.

    What an earlier stream of this process has left there is let go first: parts of a stream refer to each other.
    """
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.set_device(index)
        torch.cuda.set_per_process_memory_fraction(memory_share, index)


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
