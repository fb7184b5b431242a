"""Wan2.1's generators and decoders at their real sizes on one GPU, random weights: milliseconds per chunk, and memory.

    for what in 1.3B-320x576 1.3B-480x832 14B-320x576 decode-320x576 decode-480x832 \\
        lightvae-320x576 lightvae-480x832 taehv-320x576 taehv-480x832 pixels-320x576 pixels-480x832; do
        python -m benchmarks.real_sizes --only $what; done
    python -m benchmarks.real_sizes --device cpu --plain --only small decode-32x32 taehv-64x64 pixels-32x32

A generator is timed at a full window, without a decoder. `pixels` is the way from a decoder's pixels to bytes in the
host's memory, and from those to frames that an encoder takes. Times are medians between device events. `distance`: of a
compiled generator's latents from the eager one's, relative; of a decoder's pixels from diffusers' in float32, or for a
smaller decoder from its own in float32. `--plain`: nothing is compiled.
"""

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from benchmarks.machine import describe
from benchmarks.rank_chunks import WAYS, RankChunks
from benchmarks.sizes import ALL_CASES, CASES, FRAMES, PIXEL_FRAMES
from benchmarks.timing import Peak, Times, device_named, distance, milliseconds, spread, wait_for
from pp1_orchestrator.models.vae.base import DecodeState, StreamingDecoder
from pp1_orchestrator.models.vae.diffusers_decoder import DiffusersDecoder
from pp1_orchestrator.models.vae.load_vae import VAES, VaeSource, compile_decoder
from pp1_orchestrator.models.vae.pixel_format import to_host, to_rgb24, to_yuv420p
from pp1_orchestrator.models.vae.wan_decoder import WanDecoder
from pp1_orchestrator.models.vae.wan_encoder import WanFrameEncoder
from pp1_orchestrator.models.wan.tensor_parallel import Place

DTYPE = torch.bfloat16
SMALLER = {"lightvae": (24, 48, 96, 96), "taehv": (256, 128, 64, 64)}
"""Decoders beside Wan2.1's own, by `stage0`, with the channels of their levels."""
DECODES = [f"{kind}-{size}" for kind in ("decode", *SMALLER) for size in ("320x576", "480x832")]
PIXELS = [f"pixels-{size}" for size in ("320x576", "480x832")]
DECODE_NAME = re.compile(rf"(decode|pixels|{'|'.join(SMALLER)})-(\d+)x(\d+)")
HEADER = "| what | ms per chunk (min–max) | FPS | peak GiB | ready | distance |\n|---|---|---|---|---|---|\n"


def row(name: str, times: Times, peak: Peak, ready_s: float, distance: str) -> str:
    return f"| {name} | {spread(times)} | {PIXEL_FRAMES * 1e3 / times[0]:.1f} | {peak} | {ready_s:.0f} | {distance} |"


class Bench:
    """The rows of a case, on one device. plain: without compiled ones."""

    def __init__(self, device: torch.device, repeats: int, *, plain: bool) -> None:
        self._device, self._repeats, self._plain = device, repeats, plain

    def rows(self, name: str) -> Iterator[str]:
        named = DECODE_NAME.fullmatch(name)
        if named is None:
            return self.generator_rows(name)
        kind, size = named[1], (int(named[2]) // 8, int(named[3]) // 8)
        if kind == "pixels":
            return self.pixel_rows(name, size)
        return self.decode_rows(name, size) if kind == "decode" else self.smaller_rows(name, kind, size)

    def generator_rows(self, name: str) -> Iterator[str]:
        eager: Tensor | None = None
        for way in ["eager"] if self._plain else WAYS:
            peak, start = Peak(self._device), time.monotonic()
            chunks = RankChunks(ALL_CASES[name], Place(0, 1), self._device, DTYPE, way)
            _, latents = chunks.fill()
            wait_for(self._device)
            ready_s = time.monotonic() - start
            times = milliseconds(chunks, self._repeats, self._device)
            eager = latents if eager is None else eager
            del chunks
            yield row(f"{name} {way}", times, peak, ready_s, f"{distance(latents, eager):.1e}")

    def decode_rows(self, name: str, size: tuple[int, int]) -> Iterator[str]:
        latents = self._latents(size)
        whole: Any = AutoencoderKLWan()
        whole.to(self._device).eval().requires_grad_(False)
        exact = decoded(DiffusersDecoder(whole), latents)
        vae = whole.to(DTYPE)

        def stacked() -> StreamingDecoder:
            return WanDecoder(vae).eval().to(self._device)

        yield self._decode_row(f"{name} diffusers", lambda: DiffusersDecoder(vae), latents, exact)
        yield from self._both_ways(f"{name} stacked", stacked, latents, exact)
        encoder = WanFrameEncoder(vae).eval().to(self._device)
        frame = torch.rand(3, 8 * size[0], 8 * size[1], device=self._device) * 2 - 1
        encoder.encode(frame)
        times = milliseconds(lambda: encoder.encode(frame), self._repeats, self._device)
        yield f"| {name}, one frame encoded | {spread(times)} | | | | |"

    def smaller_rows(self, name: str, stage0: str, size: tuple[int, int]) -> Iterator[str]:
        """Of a smaller decoder. `distance` is from itself in float32."""
        latents, source = self._latents(size), VaeSource(Path("none"), SMALLER[stage0], seed=0)

        def load(dtype: torch.dtype) -> StreamingDecoder:
            return VAES[stage0]().load(source, self._device, dtype, with_encoder=False).decoder

        return self._both_ways(name, partial(load, DTYPE), latents, decoded(load(torch.float32), latents))

    def pixel_rows(self, name: str, size: tuple[int, int]) -> Iterator[str]:
        """From decoded pixels to the host's memory, and from there to an encoder's frames where PyAV is installed."""
        pixels = torch.randn(PIXEL_FRAMES, 3, 8 * size[0], 8 * size[1], device=self._device, dtype=DTYPE)
        for form, convert in {"RGB": to_rgb24, "yuv420p": to_yuv420p}.items():
            frames = to_host(convert(pixels))
            calls: dict[str, Callable[[], object]] = {"to host": lambda convert=convert: to_host(convert(pixels))}
            if find_spec("av") is not None:
                calls["to encoder frames"] = partial(encoder_frames, frames)
            for step, call in calls.items():
                call()
                median, least, most = milliseconds(call, self._repeats, torch.device("cpu"))  # the host's clock
                yield f"| {name}, {form} {step} | {median:.2f} ({least:.2f}–{most:.2f}) | | | | |"

    def _latents(self, size: tuple[int, int]) -> Tensor:
        """Latents of two chunks."""
        torch.manual_seed(0)
        return torch.randn(2, FRAMES, 16, *size, device=self._device)

    def _both_ways(
        self, name: str, make: Callable[[], StreamingDecoder], latents: Tensor, exact: Sequence[Tensor]
    ) -> Iterator[str]:
        def compiled() -> StreamingDecoder:
            decoder = make()
            compile_decoder(decoder, FRAMES, (latents.shape[-2], latents.shape[-1]), in_parts=False)
            return decoder

        yield self._decode_row(name, make, latents, exact)
        if not self._plain:
            yield self._decode_row(f"{name}, compiled", compiled, latents, exact)

    def _decode_row(
        self, name: str, make: Callable[[], StreamingDecoder], latents: Tensor, exact: Sequence[Tensor]
    ) -> str:
        start = time.monotonic()
        decoder, state = make(), DecodeState()
        pixels = [decoder.decode(part, state) for part in latents]
        wait_for(self._device)
        ready_s, peak = time.monotonic() - start, Peak(self._device)
        times = milliseconds(lambda: decoder.decode(latents[1], state), self._repeats, self._device)
        return row(name, times, peak, ready_s, f"PSNR {psnr(pixels, exact):.1f} dB")


def encoder_frames(frames: Tensor) -> None:
    from pp1_orchestrator.media.frames import as_arrays
    from pp1_orchestrator.media.frames import to_yuv420p as to_video_frame

    for frame in as_arrays(frames):
        to_video_frame(frame)


def decoded(decoder: StreamingDecoder, chunks: Tensor) -> list[Tensor]:
    """The pixels of a new stream. Its state is freed: peaks are measured later."""
    state = DecodeState()
    return [decoder.decode(part, state) for part in chunks]


def psnr(pixels: Sequence[Tensor], exact: Sequence[Tensor]) -> float:
    """dB, for pixels in −1…1."""
    error = torch.cat([(a - b).square().flatten() for a, b in zip(pixels, exact, strict=True)]).mean()
    return float(10 * torch.log10(4 / error))


def name_of(word: str) -> str:
    if word in ALL_CASES or DECODE_NAME.fullmatch(word):
        return word
    raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join(ALL_CASES)}, nor of the form decode-320x576")


@torch.inference_mode()
def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", type=name_of, default=[*CASES, *DECODES, *PIXELS])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--device", type=device_named, default="cuda")
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args(words)
    sys.stdout.write(f"{describe()}\n\n{HEADER}")
    bench = Bench(options.device, options.repeats, plain=options.plain)
    for name in options.only:
        for line in bench.rows(name):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
