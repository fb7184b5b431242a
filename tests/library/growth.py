"""What a process holds: for tests that nothing of it grows."""

import gc
from dataclasses import asdict, dataclass

import psutil

MEMORY_NOISE = 24 << 20
"""What the C library keeps of freed memory changes by as much; a stream's models are 20 MB."""


@dataclass(frozen=True)
class Held:
    """threads: of the kernel, so those of libraries, too. memory: resident bytes."""

    threads: int
    descriptors: int
    processes: int
    memory: int


def held() -> Held:
    gc.collect()
    own = psutil.Process()
    return Held(own.num_threads(), own.num_fds(), len(own.children(recursive=True)), own.memory_info().rss)


def grown(before: Held, now: Held) -> dict[str, int]:
    """What there is more of, and by how much."""
    more = {name: value - asdict(before)[name] for name, value in asdict(now).items()}
    return {name: by for name, by in more.items() if by > (MEMORY_NOISE if name == "memory" else 0)}
