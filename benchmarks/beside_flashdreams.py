"""Our generator and FlashDreams' own, in turns on one GPU: Wan2.1 1.3B at 480×832, bf16, random weights.

    pip install flashdreams==0.1.0
    python -m benchmarks.beside_flashdreams
    python -m benchmarks.beside_flashdreams --device cpu --case small --sides "ours, eager"      # theirs needs CUDA

Both do the same work: chunks of 3 latent frames, a full window of 21, four denoising steps and a clean pass. Theirs
replays CUDA graphs, as it does by default, but is compiled in torch's default mode, because its own mode compiles for
many minutes. Times are medians between device events over all rounds; ratios are relative to the first side.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.machine import describe
from benchmarks.rank_chunks import RankChunks
from benchmarks.sizes import ALL_CASES, FRAMES, PIXEL_FRAMES, STEPS, Case
from benchmarks.timing import call_times, device_named, of, spread, wait_for
from pp1_orchestrator.models.wan.schedule import FlowSchedule
from pp1_orchestrator.models.wan.tensor_parallel import Place

DTYPE = torch.bfloat16
Maker = Callable[[Case, torch.device], Callable[[], Tensor]]


class Theirs:
    """Makes chunk after chunk with FlashDreams' transformer."""

    def __init__(self, case: Case, device: torch.device) -> None:
        from flashdreams.recipes.wan.transformer import wan21  # pyright: ignore[reportMissingImports]

        plain: Any = wan21
        plain.compile_module = torch.compile  # in the default mode
        config = plain.Wan21TransformerConfig(len_t=FRAMES, window_size_t=case.window, dtype=DTYPE)
        self._transformer: Any = config.setup().to(device)
        text = torch.randn(1, case.sizes.text_len, case.sizes.text_dim, device=device, dtype=DTYPE)
        height, width = case.latent_size
        self._cache = self._transformer.initialize_autoregressive_cache(
            height=height, width=width, text_embeddings=text
        )
        self._noise = torch.randn(self._transformer.latent_shape, device=device, dtype=DTYPE)
        self._levels = FlowSchedule(5.0, warp=True).steps(STEPS)
        self._times = [torch.tensor(level.timestep, device=device, dtype=DTYPE) for level in self._levels]
        self._clean_time = torch.zeros((), device=device, dtype=DTYPE)
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


@torch.inference_mode()
def ours(way: str, case: Case, device: torch.device) -> Callable[[], Tensor]:
    chunks = RankChunks(case, Place(0, 1), device, DTYPE, way)
    chunks.fill()
    return chunks


@torch.no_grad()
def theirs(case: Case, device: torch.device) -> Callable[[], Tensor]:
    chunks = Theirs(case, device)
    for _ in range(case.chunks_until_steady):
        chunks()
    return chunks


THEIRS, THEIR_CASES = "FlashDreams 0.1.0", ("1.3B-320x576", "1.3B-480x832")
SIDES: dict[str, Maker] = {
    THEIRS: theirs,
    "ours": partial(ours, "captured"),
    "ours, fp8": partial(ours, "captured, fp8"),
    "ours, eager": partial(ours, "eager"),
}
USUAL = list(SIDES)[:3]


def ready(name: str, make: Maker, case: Case, device: torch.device) -> Callable[[], Tensor]:
    """Make a side and print how long that took: compiling is most of this benchmark's time."""
    start = time.monotonic()
    made = make(case, device)
    wait_for(device)
    sys.stderr.write(f"{name}: ready after {time.monotonic() - start:.0f} s\n")
    return made


@torch.no_grad()
def in_turns(
    sides: Mapping[str, Callable[[], Tensor]], rounds: int, repeats: int, device: torch.device
) -> dict[str, list[float]]:
    """Milliseconds of each side's chunks."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, call in sides.items():
            found[name] += call_times(call, repeats, device)
    return found


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--sides", nargs="+", default=USUAL, choices=list(SIDES))
    parser.add_argument("--case", default="1.3B-480x832", choices=list(ALL_CASES))
    parser.add_argument("--device", type=device_named, default="cuda")
    options = parser.parse_args(words)
    case, device = ALL_CASES[options.case], options.device
    if THEIRS in options.sides and options.case not in THEIR_CASES:
        parser.error(f"--case {options.case}: {THEIRS} is Wan2.1 1.3B; possible: {', '.join(THEIR_CASES)}")
    sides = {name: ready(name, SIDES[name], case, device) for name in options.sides}
    found = in_turns(sides, options.rounds, options.repeats, device)
    sys.stdout.write(f"{describe()}\n\n| generator | ms per chunk | FPS | times as fast |\n|---|---|---|---|\n")
    base = statistics.median(found[options.sides[0]])
    for name, times in found.items():
        whole = of(times)
        speed = f"{spread(whole)} | {PIXEL_FRAMES * 1e3 / whole[0]:.1f} | {base / whole[0]:.3f}"
        sys.stdout.write(f"| {name} | {speed} |\n")


if __name__ == "__main__":
    main()
