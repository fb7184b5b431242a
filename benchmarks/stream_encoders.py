"""Streaming encoders of pixels: milliseconds per chunk of 12 frames, memory, and distance from float32.

    python -m benchmarks.stream_encoders --only wan_vae-320x576 wan_vae-480x832 lightvae-480x832 taehv-480x832
    python -m benchmarks.stream_encoders --device cpu --only shipped-128x128

`shipped` is the default model's VAE in float32; the others have random weights in bfloat16. On a GPU each encoder runs
eager and compiled; a CUDA graph of the compiled one took as long. Times are medians between device events. On a CPU one
thread runs, and the second time is what the process itself used, which other programs don't lengthen. PSNR is over the
span of the latents that float32 gives.
"""

import argparse
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

import pp1_orchestrator
from benchmarks.machine import describe
from benchmarks.sizes import FRAMES, PIXEL_FRAMES
from benchmarks.timing import Peak, device_named, distance, milliseconds, spread, wait_for
from pp1_orchestrator.models.vae.base import EncodeState, StreamingEncoder
from pp1_orchestrator.models.vae.load_vae import VAES, VaeSource, compile_encoder

SHIPPED = VaeSource(Path(pp1_orchestrator.__file__).parent / "models" / "tiny" / "vae")
WIDTHS = {
    "wan_vae": (96, 192, 384, 384),
    "lightvae": (24, 48, 96, 96),
    "taehv": (256, 128, 64, 64),
    "lighttae": (256, 128, 64, 64),
}
"""Channels of each level."""
CASES = ["shipped-128x128", *(f"{kind}-{size}" for kind in WIDTHS for size in ("320x576", "480x832"))]
NAME = re.compile(rf"(shipped|{'|'.join(WIDTHS)})-(\d+)x(\d+)")
HEADER = (
    "| what | ms per chunk (min–max) | process ms | peak GiB | ready s | distance | PSNR dB |\n" + "|---" * 7 + "|\n"
)

Encode = Callable[[Tensor], Tensor]
"""Encodes the next chunk of one stream."""


def load(kind: str, device: torch.device, dtype: torch.dtype) -> StreamingEncoder:
    if kind == "shipped":
        return VAES["wan_vae"]().load_encoder(SHIPPED, device, dtype)
    return VAES[kind]().load_encoder(VaeSource(Path("none"), WIDTHS[kind], seed=0), device, dtype)


def eager(encoder: StreamingEncoder) -> Encode:
    state = EncodeState()
    return lambda frames: encoder.encode(frames, state)


def compiled(encoder: StreamingEncoder, size: tuple[int, int]) -> Encode:
    compile_encoder(encoder, FRAMES, size)
    return eager(encoder)


def ways(device: torch.device, size: tuple[int, int]) -> Mapping[str, Callable[[StreamingEncoder], Encode]]:
    if device.type != "cuda":
        return {"eager": eager}
    return {"eager": eager, "compiled": lambda one: compiled(one, size)}


def stream(encode: Encode, chunks: Sequence[Tensor]) -> Tensor:
    return torch.cat([encode(chunk) for chunk in chunks])


def psnr(latents: Tensor, exact: Tensor) -> float:
    span = exact.max() - exact.min()
    return float(10 * torch.log10(span.square() / (latents - exact).square().mean()))


def process_ms(call: Callable[[], object], repeats: int) -> float:
    """Median time that this process uses for a call, on all its threads."""
    found = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        found.append(1e3 * (time.process_time() - start))
    return statistics.median(found)


def rows(name: str, device: torch.device, repeats: int) -> Iterator[str]:
    named = NAME.fullmatch(name)
    assert named is not None
    kind, size = named[1], (int(named[2]), int(named[3]))
    torch.manual_seed(0)
    count = PIXEL_FRAMES - 3  # a stream's first latent frame stands for one pixel frame
    # Four chunks after the first: a state that isn't carried on shows.
    chunks = (torch.rand(count + 4 * PIXEL_FRAMES, 3, *size, device=device) * 2 - 1).split([count, *[PIXEL_FRAMES] * 4])
    exact = stream(eager(load(kind, device, torch.float32)), chunks)
    dtype = torch.float32 if kind == "shipped" else torch.bfloat16
    for way, make in ways(device, size).items():
        torch.compiler.reset()
        peak, start = Peak(device), time.monotonic()
        encode = make(load(kind, device, dtype))
        latents = stream(encode, chunks)
        wait_for(device)
        ready_s = time.monotonic() - start
        times = milliseconds(lambda encode=encode: encode(chunks[1]), repeats, device)
        own = "" if device.type == "cuda" else f"{process_ms(lambda encode=encode: encode(chunks[1]), repeats):.1f}"
        figures = f"{peak} | {ready_s:.0f} | {distance(latents, exact):.1e} | {psnr(latents, exact):.1f}"
        yield f"| {name} {way} | {spread(times)} | {own} | {figures} |"


def name_of(word: str) -> str:
    if NAME.fullmatch(word):
        return word
    raise argparse.ArgumentTypeError(f"{word!r} is not of the form of {', '.join(CASES)}")


@torch.inference_mode()
def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", type=name_of, default=CASES)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--device", type=device_named, default="cuda")
    options = parser.parse_args(words)
    if options.device.type == "cpu":
        torch.set_num_threads(1)
    sys.stdout.write(f"{describe()}\n\n{HEADER}")
    for name in options.only:
        for line in rows(name, options.device, options.repeats):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
