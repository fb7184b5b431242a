"""Our generator and FlashDreams' own, in turns on one GPU: Wan2.1 1.3B at 480×832, bf16, random weights.

    pip install flashdreams==0.1.0
    python -m benchmarks.beside_flashdreams

Equal work: chunks of 3 latent frames, a window of 21 that is full, four denoising steps and a clean pass. Theirs is
compiled in torch's default mode and replays CUDA graphs, as it does by itself but for the mode: with theirs compiling
takes many minutes. Times are medians between device events, over all rounds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.machine import describe
from benchmarks.rank_chunks import RankChunks
from benchmarks.real_sizes import CASES, FRAMES, PIXEL_FRAMES, STEPS, call_times
from pp1_orchestrator.models.wan.parallelize import Place
from pp1_orchestrator.models.wan.schedule import FlowSchedule

CASE = CASES["1.3B-480x832"]
DEVICE, DTYPE = torch.device("cuda"), torch.bfloat16


class Theirs:
    """Makes chunk after chunk with FlashDreams' transformer."""

    def __init__(self) -> None:
        from flashdreams.recipes.wan.transformer import wan21  # type: ignore[import-not-found]

        plain: Any = wan21
        plain.compile_module = torch.compile  # in the default mode
        config = plain.Wan21TransformerConfig(len_t=FRAMES, window_size_t=CASE.window, dtype=DTYPE)
        self._transformer: Any = config.setup().to(DEVICE)
        text = torch.randn(1, CASE.sizes.text_len, CASE.sizes.text_dim, device=DEVICE, dtype=DTYPE)
        self._cache = self._transformer.initialize_autoregressive_cache(
            height=CASE.height // 8, width=CASE.width // 8, text_embeddings=text
        )
        self._noise = torch.randn(self._transformer.latent_shape, device=DEVICE, dtype=DTYPE)
        self._levels = FlowSchedule(5.0, warp=True).steps(STEPS)
        self._times = [torch.tensor(level.timestep, device=DEVICE, dtype=DTYPE) for level in self._levels]
        self._clean_time = torch.zeros((), device=DEVICE, dtype=DTYPE)
        self._index = 0

    def __call__(self) -> Tensor:
        self._cache.start(self._index)
        x = clean = self._noise
        for index, (level, at) in enumerate(zip(self._levels, self._times, strict=True)):
            clean = x - level.sigma * self._transformer.predict_flow(x, at, self._cache)
            if index + 1 < len(self._levels):
                x = torch.lerp(clean, self._noise, self._levels[index + 1].sigma)
        self._transformer.finalize_kv_cache(clean, self._clean_time, self._cache)
        self._cache.finalize(self._index)
        self._index += 1
        return clean


def fill(chunks: Callable[[], Tensor]) -> None:
    """Until nothing is new: the window is full, and what is captured is."""
    for _ in range(3 * CASE.window // FRAMES):
        chunks()


@torch.inference_mode()
def ours(way: str) -> Callable[[], Tensor]:
    chunks = RankChunks(CASE, Place(0, 1), DEVICE, DTYPE, way)
    fill(chunks)
    return chunks


@torch.no_grad()
def theirs() -> Callable[[], Tensor]:
    chunks = Theirs()
    fill(chunks)
    return chunks


def ready(name: str, make: Callable[[], Callable[[], Tensor]]) -> Callable[[], Tensor]:
    """Made, and how long that took told: compiling is most of this benchmark's time."""
    start = time.monotonic()
    made = make()
    torch.cuda.synchronize()
    sys.stderr.write(f"{name}: ready after {time.monotonic() - start:.0f} s\n")
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=8)
    options = parser.parse_args()
    makers = {
        "FlashDreams 0.1.0": theirs,
        "ours": partial(ours, "captured"),
        "ours, fp8": partial(ours, "captured, fp8"),
    }
    sides = {name: ready(name, make) for name, make in makers.items()}
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.rounds):
        for name, call in sides.items():
            with torch.no_grad():
                found[name] += call_times(call, options.repeats)
    sys.stdout.write(f"{describe()}\n\n| generator | ms a chunk | FPS | times as fast |\n|---|---|---|---|\n")
    base = statistics.median(found["FlashDreams 0.1.0"])
    for name, times in found.items():
        middle = statistics.median(times)
        spread = f"{middle:.1f} ({min(times):.1f}–{max(times):.1f})"
        sys.stdout.write(f"| {name} | {spread} | {PIXEL_FRAMES * 1e3 / middle:.1f} | {base / middle:.3f} |\n")


if __name__ == "__main__":
    main()
