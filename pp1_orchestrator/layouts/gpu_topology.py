"""What joins the mesh's GPUs, and whether splitting a model over them is a good idea. Asks the driver's own tool."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from collections.abc import Mapping, Sequence

GpuPair = tuple[int, int]

ASK_S = 5.0
NVLINK = "NV"
STYLE = re.compile(r"\x1b\[[0-9;]*m")
"""The tool underlines its head, also when nobody looks."""


def read_topology(table: str) -> dict[GpuPair, str]:
    """What `nvidia-smi topo -m` prints -> the word for each two of the driver's GPUs: NV18, PIX, PHB, SYS and so on."""
    rows = [STYLE.sub("", line).split() for line in table.splitlines()]
    head = next((row for row in rows if row and row[0] == "GPU0"), [])
    columns = [int(name[3:]) for name in itertools.takewhile(lambda name: re.fullmatch(r"GPU\d+", name), head)]
    found: dict[GpuPair, str] = {}
    for row in rows:
        name = re.fullmatch(r"GPU(\d+)", row[0]) if row else None
        if name and row is not head and len(row) > len(columns):
            found |= {(int(name[1]), column): word for column, word in zip(columns, row[1:], strict=False)}
    return found


def topology() -> dict[GpuPair, str]:
    """Of this machine; empty where the driver does not say."""
    try:
        asked = subprocess.run(["nvidia-smi", "topo", "-m"], capture_output=True, text=True, timeout=ASK_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    return read_topology(asked.stdout)


def slowest_link(gpus: Sequence[int], links: Mapping[GpuPair, str]) -> str | None:
    """The word for two of `gpus` that are not joined by NVLink, else for any two; None where nothing is known."""
    words = [links[pair] for pair in itertools.combinations(gpus, 2) if pair in links]
    return next((word for word in words if not word.startswith(NVLINK)), words[0] if words else None)


def advice(devices: Sequence[str], links: Mapping[GpuPair, str]) -> tuple[bool, str] | None:
    """Whether a model should be split over these devices, and why, in one line; None where nothing is known.

    devices: of the mesh's ranks, as torch names them. CUDA_VISIBLE_DEVICES may give the driver's GPUs other numbers.
    """
    gpus = [_driver_number(device) for device in devices]
    known = [gpu for gpu in gpus if gpu is not None]
    word = slowest_link(known, links) if len(known) == len(gpus) else None
    if word is None:
        return None
    if word.startswith(NVLINK):
        return True, f"{', '.join(devices)} are joined by NVLink ({word})"
    return False, (
        f"{', '.join(devices)} are not all joined by NVLink but by PCIe ({word}): sums over the mesh will be slow; "
        f"{len(devices)} streams with layout=gpu_1p1 give more frames than one that is split"
    )


def _driver_number(device: str) -> int | None:
    index = int(device.partition(":")[2] or 0)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not visible:
        return index
    names = visible.split(",")
    return int(names[index]) if index < len(names) and names[index].strip().isdecimal() else None
