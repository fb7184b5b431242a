"""How the mesh's GPUs are connected, and whether splitting a model over them pays. Asks `nvidia-smi`."""

import itertools
import os
import re
import subprocess
from collections.abc import Mapping, Sequence

GpuPair = tuple[int, int]

TIMEOUT_S = 5.0
NVLINK = "NV"
ANSI_STYLE = re.compile(r"\x1b\[[0-9;]*m")
"""`nvidia-smi` underlines the header even when its output is no terminal."""


def read_topology(table: str) -> dict[GpuPair, str]:
    """Parse `nvidia-smi topo -m`: the kind of link (NV18, PIX, PHB, SYS …) by pair of the driver's GPU numbers."""
    rows = [ANSI_STYLE.sub("", line).split() for line in table.splitlines()]
    head = next((row for row in rows if row and row[0] == "GPU0"), list[str]())
    columns = [int(name[3:]) for name in itertools.takewhile(lambda name: re.fullmatch(r"GPU\d+", name), head)]
    found: dict[GpuPair, str] = {}
    for row in rows:
        name = re.fullmatch(r"GPU(\d+)", row[0]) if row else None
        if name and row is not head and len(row) > len(columns):
            found |= {(int(name[1]), column): word for column, word in zip(columns, row[1:], strict=False)}
    return found


def topology() -> dict[GpuPair, str]:
    """This machine's; empty where `nvidia-smi` gives no answer."""
    try:
        answer = subprocess.run(
            ["nvidia-smi", "topo", "-m"], capture_output=True, text=True, timeout=TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return read_topology(answer.stdout)


def advice(devices: Sequence[str], links: Mapping[GpuPair, str]) -> tuple[bool, str] | None:
    """Whether to split a model over these devices, and one line that says why; None where nothing is known.

    devices: torch's names. CUDA_VISIBLE_DEVICES maps them to the driver's numbers.
    """
    gpus = [gpu for gpu in map(_driver_number, devices) if gpu is not None]
    found = [links[pair] for pair in itertools.combinations(gpus, 2) if pair in links]
    if len(gpus) < len(devices) or not found:
        return None
    slow = next((link for link in found if not link.startswith(NVLINK)), None)
    if slow is None:
        return True, f"{', '.join(devices)} are joined by NVLink ({found[0]})"
    return False, (
        f"{', '.join(devices)} are not all joined by NVLink but by PCIe ({slow}): sums over the mesh will be slow; "
        f"{len(devices)} streams with layout=gpu_1p1 give more frames than one that is split"
    )


def _driver_number(device: str) -> int | None:
    index = int(device.partition(":")[2] or 0)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not visible:
        return index
    names = visible.split(",")
    return int(names[index]) if index < len(names) and names[index].strip().isdecimal() else None
