"""Wan2.1's generators and decoder at their real sizes on one GPU, with random weights: milliseconds a chunk, and memory.

    python -m benchmarks.real_sizes --only 1.3B-480x832 decode-320x576

A chunk is 3 latent frames. Generator figures are of a full window and have nothing of the decoder in them, and the other
way round; times are medians between device events. `distance` is the compiled result's from the eager one's, relative.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.machine import describe
from pp1_orchestrator.models.vae.base import DecodeState, StreamingDecoder
from pp1_orchestrator.models.vae.encode import FrameEncoder
from pp1_orchestrator.models.vae.reference import ReferenceDecoder
from pp1_orchestrator.models.vae.stacked import StackedDecoder
from pp1_orchestrator.models.wan.compiled import compile_blocks
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.dit import CausalWanModel
from pp1_orchestrator.models.wan.generator import CausalGenerator
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.schedule import FlowSchedule

SMALL = {"dim": 1536, "ffn_dim": 8960, "num_heads": 12, "num_layers": 30}
LARGE = {"dim": 5120, "ffn_dim": 13824, "num_heads": 40, "num_layers": 40}
STEPS = (1000, 750, 500, 250)
DEVICE = torch.device("cuda")
PREFERRED = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
FRAMES = 3


@dataclass(frozen=True)
class Case:
    """rebuild: the context is one chunk read again before each chunk, instead of a clean pass after it."""

    sizes: dict[str, int]
    height: int
    width: int
    window: int
    rebuild: bool = False


CASES = {
    "1.3B-320x576": Case(SMALL, 320, 576, 21),
    "1.3B-480x832": Case(SMALL, 480, 832, 21),
    "14B-320x576": Case(LARGE, 320, 576, 6, rebuild=True),
}


def milliseconds(call: Callable[[], object], repeats: int) -> tuple[float, float, float]:
    """Median, least and most."""
    times = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times), min(times), max(times)


def make(case: Case) -> tuple[CausalWanModel, CausalGenerator]:
    config = WanConfig(**case.sizes, chunk_frames=FRAMES, local_attn_size=case.window)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with DEVICE:
        model = CausalWanModel(config).eval().requires_grad_(False)
    torch.set_default_dtype(torch.float32)
    cache = KVCache.for_model(config, 1, (case.height // 8, case.width // 8), torch.bfloat16, DEVICE)
    generator = CausalGenerator(model, cache, FlowSchedule(5.0, warp=True))
    generator.set_text(torch.randn(1, 512, 4096, dtype=torch.bfloat16, device=DEVICE))
    return model, generator


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
        for _ in range(self._case.window // FRAMES + 2):
            latents = self()
        return latents


def generator_rows(name: str, case: Case, repeats: int) -> list[str]:
    torch.cuda.reset_peak_memory_stats()
    model, generator = make(case)
    chunks = Chunks(case, generator)
    rows, eager = [], None
    for way in ("eager", "compiled"):
        start = time.monotonic()
        if way == "compiled":
            compile_blocks(model)
        latents = chunks.fill()
        torch.cuda.synchronize()
        ready_s = time.monotonic() - start
        middle, least, most = milliseconds(chunks, repeats)
        eager = latents if eager is None else eager
        distance = float((latents.float() - eager.float()).norm() / eager.float().norm())
        peak = torch.cuda.max_memory_allocated() / 2**30
        rows.append(
            f"| {name} {way} | {middle:.1f} ({least:.1f}–{most:.1f}) | {12e3 / middle:.1f} | {peak:.1f} "
            f"| {ready_s:.0f} s | {distance:.1e} |"
        )
    return rows


def decoders(kinds: list[str]) -> dict[str, Callable[[AutoencoderKLWan], StreamingDecoder]]:
    def compiled(vae: AutoencoderKLWan) -> StreamingDecoder:
        decoder: Any = StackedDecoder(vae)
        decoder._decode = torch.compile(decoder._decode, dynamic=False)
        return decoder

    return {"diffusers": ReferenceDecoder, "stacked": StackedDecoder, "stacked compiled": compiled}


def decode_rows(name: str, height: int, width: int, repeats: int) -> list[str]:
    rows, exact = [], None
    torch.manual_seed(0)
    latents = torch.randn(2, FRAMES, 16, height // 8, width // 8, device=DEVICE)
    wide: Any = AutoencoderKLWan().to(DEVICE).eval().requires_grad_(False)
    state = DecodeState()
    exact = [ReferenceDecoder(wide).decode(part, state) for part in latents]
    vae = wide.to(torch.bfloat16)
    for way, kind in decoders([]).items():
        torch.cuda.reset_peak_memory_stats()
        start, decoder, state = time.monotonic(), kind(vae), DecodeState()
        if isinstance(decoder, torch.nn.Module):
            decoder.to(DEVICE)
        try:
            pixels = [decoder.decode(part, state) for part in latents]
            decoder.decode(latents[0], state)
            torch.cuda.synchronize()
        except Exception as error:  # noqa: BLE001
            rows.append(f"| {name} {way} | {type(error).__name__}: {str(error)[:300]} |")
            continue
        ready_s = time.monotonic() - start
        middle, least, most = milliseconds(lambda: decoder.decode(latents[1], state), repeats)
        error = torch.cat([(a.float() - b).square().flatten() for a, b in zip(pixels, exact, strict=True)]).mean()
        peak = torch.cuda.max_memory_allocated() / 2**30
        rows.append(
            f"| {name} {way} | {middle:.1f} ({least:.1f}–{most:.1f}) | {12e3 / middle:.1f} | {peak:.1f} "
            f"| {ready_s:.0f} s | PSNR {float(10 * torch.log10(4 / error)):.1f} dB |"
        )
    encoder = FrameEncoder(vae).eval().to(DEVICE)
    frame = torch.rand(3, height, width, device=DEVICE) * 2 - 1
    try:
        encoder.encode(frame)
        middle, least, most = milliseconds(lambda: encoder.encode(frame), repeats)
        rows.append(f"| {name} one-frame encode | {middle:.1f} ({least:.1f}–{most:.1f}) | | | | |")
    except Exception as error:  # noqa: BLE001
        rows.append(f"| {name} encode | {type(error).__name__}: {str(error)[:300]} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[*CASES, "decode-320x576", "decode-480x832"])
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    sys.stdout.write(
        describe()
        + "\n\n| what | ms a chunk (least–most) | FPS | peak GiB | ready | distance |\n|---|---|---|---|---|---|\n"
    )
    for name in options.only:
        torch.cuda.empty_cache()
        with torch.inference_mode(), sdpa_kernel(PREFERRED, set_priority=True):
            if name in CASES:
                rows = generator_rows(name, CASES[name], options.repeats)
            else:
                height, width = map(int, name.removeprefix("decode-").split("x"))
                rows = decode_rows(name, height, width, options.repeats)
        sys.stdout.write("\n".join(rows) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
