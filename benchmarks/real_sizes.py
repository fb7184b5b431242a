"""Wan2.1's generators and decoder at their real sizes on one GPU, random weights: milliseconds a chunk, and memory.

    for what in 1.3B-320x576 1.3B-480x832 14B-320x576 decode-320x576 decode-480x832 \\
        lightvae-320x576 lightvae-480x832 taehv-320x576 taehv-480x832; do
        python -m benchmarks.real_sizes --only $what; done

A chunk is 3 latent frames. A generator's figures are of a full window and have nothing of the decoder in them; times
are medians between device events. `distance`: of a compiled generator's latents from the eager one's,
relative; of a decoder's pixels from those of diffusers' in float32, of a smaller decoder's from its own in float32.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from benchmarks.machine import describe
from pp1_orchestrator.models.vae.base import DecodeState, StreamingDecoder
from pp1_orchestrator.models.vae.compiled import compile_decoder
from pp1_orchestrator.models.vae.encode import FrameEncoder
from pp1_orchestrator.models.vae.kinds import VAES, VaeSource
from pp1_orchestrator.models.vae.reference import ReferenceDecoder
from pp1_orchestrator.models.vae.stacked import StackedDecoder
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.dit import CausalWanModel
from pp1_orchestrator.models.wan.fast.passes import fast_passes
from pp1_orchestrator.models.wan.generator import CausalGenerator
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.schedule import FlowSchedule

SMALL = WanConfig(dim=1536, ffn_dim=8960, num_heads=12, num_layers=30)
LARGE = WanConfig(dim=5120, ffn_dim=13824, num_heads=40, num_layers=40)
STEPS = (1000, 750, 500, 250)
DEVICE = torch.device("cuda")
FRAMES = 3
PIXEL_FRAMES = 4 * FRAMES


@dataclass(frozen=True)
class Case:
    """rebuild: the context is one chunk read again before each chunk, instead of a clean pass after it."""

    sizes: WanConfig
    height: int
    width: int
    window: int
    rebuild: bool = False
    ways: tuple[str, ...] = ("eager", "compiled", "compiled, fp8")


CASES = {
    "1.3B-320x576": Case(SMALL, 320, 576, 21),
    "1.3B-480x832": Case(SMALL, 480, 832, 21),
    "14B-320x576": Case(LARGE, 320, 576, 6, rebuild=True),
}


def call_times(call: Callable[[], object], repeats: int) -> list[float]:
    """Milliseconds, one call after the other as in a stream: the host may prepare what comes next."""
    events = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
    events[0].record()
    for event in events[1:]:
        call()
        event.record()
    events[-1].synchronize()
    return [start.elapsed_time(end) for start, end in itertools.pairwise(events)]


def milliseconds(call: Callable[[], object], repeats: int) -> tuple[float, float, float]:
    """Median, least and most."""
    times = call_times(call, repeats)
    return statistics.median(times), min(times), max(times)


def make(case: Case, way: str) -> CausalGenerator:
    config = msgspec.structs.replace(case.sizes, chunk_frames=FRAMES, local_attn_size=case.window)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with DEVICE:
        model = CausalWanModel(config).eval().requires_grad_(False)
    torch.set_default_dtype(torch.float32)
    cache = KVCache.for_model(config, 1, (case.height // 8, case.width // 8), torch.bfloat16, DEVICE)
    passes = None if way == "eager" else fast_passes(model, cache, fp8="fp8" in way)
    generator = CausalGenerator(model, cache, FlowSchedule(5.0, warp=True), passes)
    generator.set_text(torch.randn(1, 512, 4096, dtype=torch.bfloat16, device=DEVICE))
    return generator


def row(name: str, figures: tuple[float, float, float], peak: float, ready_s: float, distance: str) -> str:
    middle, least, most = figures
    times = f"{middle:.1f} ({least:.1f}–{most:.1f})"
    return f"| {name} | {times} | {PIXEL_FRAMES * 1e3 / middle:.1f} | {peak:.1f} | {ready_s:.0f} | {distance} |"


class Chunks:
    """Makes chunk after chunk as a mesh rank would."""

    def __init__(self, case: Case, generator: CausalGenerator) -> None:
        self._case, self._generator = case, generator
        shape = (1, FRAMES, 16, case.height // 8, case.width // 8)
        self._noise = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(DEVICE)
        self._last: Tensor | None = None
        self._start = 0

    def __call__(self) -> Tensor:
        if self._case.rebuild and self._last is not None:
            self._generator.rebuild(self._last, self._start - FRAMES)
        latents = self._generator.denoise(self._noise, STEPS, self._start, seed=1)
        if not self._case.rebuild:
            self._generator.write_context(latents, self._start)
        self._last, self._start = latents, self._start + FRAMES
        return latents

    def fill(self) -> Tensor:
        """From the beginning until the window is full; the last chunk."""
        self._generator.reset()
        self._start, self._last = 0, None
        for _ in range(2 * self._case.window // FRAMES):
            latents = self()
        return latents


def generator_rows(name: str, case: Case, repeats: int) -> list[str]:
    rows, eager = [], None
    for way in case.ways:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        start = time.monotonic()
        generator = make(case, way)
        chunks = Chunks(case, generator)
        latents = chunks.fill()
        torch.cuda.synchronize()
        ready_s = time.monotonic() - start
        figures = milliseconds(chunks, repeats)
        eager = latents if eager is None else eager
        distance = float((latents.float() - eager.float()).norm() / eager.float().norm())
        peak = torch.cuda.max_memory_allocated() / 2**30
        del generator, chunks
        rows.append(row(f"{name} {way}", figures, peak, ready_s, f"{distance:.1e}"))
    return rows


def compiled(decoder: StreamingDecoder, size: tuple[int, int]) -> StreamingDecoder:
    compile_decoder(decoder, FRAMES, size, in_parts=False)
    return decoder


DECODERS: dict[str, Callable[[AutoencoderKLWan, tuple[int, int]], StreamingDecoder]] = {
    "diffusers": lambda vae, _: ReferenceDecoder(vae),
    "stacked": lambda vae, _: StackedDecoder(vae).eval().to(DEVICE),
    "stacked, compiled": lambda vae, size: compiled(StackedDecoder(vae).eval().to(DEVICE), size),
}
SMALLER = {"lightvae": (24, 48, 96, 96), "taehv": (256, 128, 64, 64)}
"""Decoders beside Wan2.1's own, by `stage0`, with the channels of their levels."""


def psnr(pixels: list[Tensor], exact: list[Tensor]) -> float:
    """dB, for pixels in −1…1."""
    error = torch.cat([(a - b).square().flatten() for a, b in zip(pixels, exact, strict=True)]).mean()
    return float(10 * torch.log10(4 / error))


def decoded(decoder: StreamingDecoder, chunks: Tensor) -> list[Tensor]:
    """A stream of its own, of which nothing is left but the pixels: peaks are measured later."""
    state = DecodeState()
    return [decoder.decode(part, state) for part in chunks]


def decode_row(
    name: str, make_it: Callable[[], StreamingDecoder], latents: Tensor, exact: list[Tensor], repeats: int
) -> str:
    torch.cuda.empty_cache()
    start = time.monotonic()
    decoder, state = make_it(), DecodeState()
    pixels = [decoder.decode(part, state) for part in latents]
    torch.cuda.synchronize()
    ready_s = time.monotonic() - start
    torch.cuda.reset_peak_memory_stats()
    figures = milliseconds(lambda: decoder.decode(latents[1], state), repeats)
    peak = torch.cuda.max_memory_allocated() / 2**30
    return row(name, figures, peak, ready_s, f"PSNR {psnr(pixels, exact):.1f} dB")


def smaller_rows(name: str, stage0: str, size: tuple[int, int], repeats: int) -> list[str]:
    """Of a smaller decoder; `distance` is that from itself in float32."""
    latents = torch.randn(2, FRAMES, 16, *size, device=DEVICE)
    source = VaeSource(Path("none"), SMALLER[stage0], random=True, seed=0)

    def load(dtype: torch.dtype) -> StreamingDecoder:
        return VAES[stage0].load(source, DEVICE, dtype, with_encoder=False).decoder

    exact = decoded(load(torch.float32), latents)
    ways = {"": partial(load, torch.bfloat16), ", compiled": lambda: compiled(load(torch.bfloat16), size)}
    return [decode_row(f"{name}{way}", make_it, latents, exact, repeats) for way, make_it in ways.items()]


def decode_rows(name: str, height: int, width: int, repeats: int) -> list[str]:
    torch.manual_seed(0)
    size = height // 8, width // 8
    latents = torch.randn(2, FRAMES, 16, *size, device=DEVICE)
    whole: Any = AutoencoderKLWan()
    whole.to(DEVICE).eval().requires_grad_(False)
    exact = decoded(ReferenceDecoder(whole), latents)
    vae = whole.to(torch.bfloat16)
    rows = [
        decode_row(f"{name} {way}", partial(kind, vae, size), latents, exact, repeats) for way, kind in DECODERS.items()
    ]
    encoder = FrameEncoder(vae).eval().to(DEVICE)
    encoder.encode(torch.zeros(3, height, width, device=DEVICE))
    frame = torch.rand(3, height, width, device=DEVICE) * 2 - 1
    middle, least, most = milliseconds(lambda: encoder.encode(frame), repeats)
    return [*rows, f"| {name}, one frame encoded | {middle:.1f} ({least:.1f}–{most:.1f}) | | | | |"]


def main() -> None:
    decodes = [f"{kind}-{size}" for kind in ("decode", *SMALLER) for size in ("320x576", "480x832")]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[*CASES, *decodes])
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    sys.stdout.write(
        describe()
        + "\n\n| what | ms a chunk (least–most) | FPS | peak GiB | ready | distance |\n|---|---|---|---|---|---|\n"
    )
    for name in options.only:
        torch.cuda.empty_cache()
        with torch.inference_mode():
            if name in CASES:
                rows = generator_rows(name, CASES[name], options.repeats)
            else:
                kind, _, size = name.rpartition("-")
                height, width = map(int, size.split("x"))
                if kind in SMALLER:
                    rows = smaller_rows(name, kind, (height // 8, width // 8), options.repeats)
                else:
                    rows = decode_rows(name, height, width, options.repeats)
        sys.stdout.write("\n".join(rows) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
