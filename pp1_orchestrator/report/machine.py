"""What a figure was measured on, as far as the system tells it. Knows nothing of torch: its facts are handed in."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

import msgspec


class Machine(msgspec.Struct, frozen=True):
    """date: ISO, of the measurement."""

    processor: str
    cores: int
    gpus: tuple[str, ...]
    python: str
    torch: str
    date: str


def this_machine(date: str, torch: str, gpus: Sequence[str]) -> Machine:
    return Machine(processor(), os.cpu_count() or 1, tuple(gpus), platform.python_version(), torch, date)


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
