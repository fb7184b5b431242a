"""What a process holds: for tests that nothing of it grows."""

import ctypes
import gc
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

MEMORY_NOISE = 4 << 20
"""A fifth of what the models of one stream take."""


class MallocFigures(ctypes.Structure):
    """`struct mallinfo2` of glibc."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


@dataclass(frozen=True)
class Held:
    """threads: of the kernel, so those of libraries, too. memory: bytes in use, without what the C library keeps for
    reuse: resident memory grows with that, and comes to rest after some thirty streams."""

    threads: int
    descriptors: int
    processes: int
    memory: int


def held() -> Held:
    gc.collect()
    own = psutil.Process()
    return Held(own.num_threads(), own.num_fds(), len(own.children(recursive=True)), memory_in_use())


def memory_in_use() -> int:
    """Allocated and shared bytes of this process."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = MallocFigures
    figures = mallinfo()
    shared = re.search(r"^RssShmem:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.M)
    assert shared is not None
    return figures.uordblks + figures.hblkhd + 1024 * int(shared[1])


def grown(before: Held, now: Held) -> dict[str, int]:
    """What there is more of, and by how much."""
    more = {name: value - asdict(before)[name] for name, value in asdict(now).items()}
    return {name: by for name, by in more.items() if by > (MEMORY_NOISE if name == "memory" else 0)}
