"""What it takes to hand a chunk's pixels to an encoder, as RGB and as planes: milliseconds a chunk of 12 pictures.

    python -m benchmarks.pictures_out --part device    # decoded pixels to bytes in the host's memory; needs a GPU
    python -m benchmarks.pictures_out --part host      # those bytes to frames that an encoder takes; needs PyAV

Medians, least and most in brackets. `device`: until the bytes can be read, on the host's clock.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from benchmarks.machine import describe
from pp1_orchestrator.models.vae.pixel_format import PixelFormat, to_host, to_rgb24, to_yuv420p

SIZES = [(320, 576), (480, 832)]
COUNT, REPEATS, SEED = 12, 50, 1
FORMS: dict[str, PixelFormat] = {"RGB": to_rgb24, "planes": to_yuv420p}


def milliseconds(call: Callable[[], object]) -> str:
    call()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
    return f"{statistics.median(times):.2f} ({min(times):.2f}–{max(times):.2f})"


def decoded(height: int, width: int, device: torch.device) -> Tensor:
    rng = torch.Generator().manual_seed(SEED)
    return torch.randn(COUNT, 3, height, width, generator=rng).to(device, torch.bfloat16)


def device_rows(height: int, width: int) -> list[str]:
    pixels = decoded(height, width, torch.device("cuda"))
    torch.cuda.synchronize()
    ways: dict[str, Callable[[], Tensor]] = {"RGB, to ordinary memory": lambda: to_rgb24(pixels).cpu()}
    ways |= {f"{name}, to pinned memory": lambda make=make: to_host(make(pixels)) for name, make in FORMS.items()}
    return [
        f"| {height}×{width} | {name} | {way().nbytes / 1e6:.1f} | {milliseconds(way)} |" for name, way in ways.items()
    ]


def host_rows(height: int, width: int) -> list[str]:
    from pp1_orchestrator.media.frames import as_arrays, to_yuv420p

    def to_frames(pictures: Tensor) -> None:
        for picture in as_arrays(pictures):
            to_yuv420p(picture)

    rows = []
    for name, make in FORMS.items():
        pictures = make(decoded(height, width, torch.device("cpu")))
        times = milliseconds(partial(to_frames, pictures))
        rows.append(f"| {height}×{width} | {name}, to frames | {pictures.nbytes / 1e6:.1f} | {times} |")
    return rows


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["device", "host"], required=True)
    parts = {"device": device_rows, "host": host_rows}
    rows_of = parts[parser.parse_args(words).part]
    sys.stdout.write(f"{describe()}\n\n| size | way | MB | ms a chunk |\n|---|---|---|---|\n")
    for height, width in SIZES:
        sys.stdout.write("\n".join(rows_of(height, width)) + "\n")


if __name__ == "__main__":
    main()
