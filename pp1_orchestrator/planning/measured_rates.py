"""Measures rates of this machine's devices as tables, for `rate_tables`: at this kind of model's sizes, and round ones.

Knows nothing of settings. Imports torch and this package's operators alone, so that it runs where nothing else is.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from pp1_orchestrator.models.wan.ops.quantize import FP8
from pp1_orchestrator.models.wan.ops.split_kv_attention import FLASH, NONE, attention_kernel, cudnn, flash_version
from pp1_orchestrator.planning import microbenchmarks as micro
from pp1_orchestrator.planning.microbenchmarks import Rate, Sample, Stopwatch

WIDTHS = ((1536, 8960), (5120, 13824))
"""Width and feed-forward of transformers."""
TOKENS, TEXT_TOKENS = (2160, 4680), 512
RANKS = (1, 2, 4)
ROUND = [(m, n, n) for m in (256, 1024, 4096, 8192) for n in (1024, 4096, 8192)]
TEXT_WIDTHS = ((4096, 4096), (10240, 4096), (4096, 10240), (1536, 1536), (5120, 5120))
TEXT = [(TEXT_TOKENS, n, k) for n, k in TEXT_WIDTHS]
SINGLE = [(1, 9216, 1536), (1, 30720, 5120)]
SMALL = [(m, n, k) for m in (48, 192) for n, k in ((192, 192), (384, 192), (640, 192), (192, 640))]
HEADS = (1, 3, 6, 12, 24, 40)
KEYS = {2160: (2160, 4320, 5040, 7560, 15120), 4680: (4680, 8190, 9360, 16380, 32760)}
"""By queries. A cache is also attended to in equal parts."""
ATTENTION = [(128, heads, queries, keys) for heads in HEADS for queries, found in KEYS.items() for keys in found]
TO_TEXT = [(128, heads, queries, TEXT_TOKENS) for heads in (3, 6, 10, 12, 20, 40) for queries in TOKENS]
OTHER_HEADS = [(64, 64, 512, 512), (384, 3, 2880, 2880), (384, 3, 6240, 6240), (384, 1, 2880, 2880)]
SMALL_ATTENTION = [(48, 2, 192, 768), (48, 4, 192, 768), (48, 4, 192, 48)]
CPU_ATTENTION = [(128, 2, 512, 512), (128, 2, 512, 2048)]
CHANNELS = (96, 192, 384)
GRIDS = ((3, 40, 72), (6, 80, 144), (12, 160, 288), (12, 320, 576))
WAN_CONVOLUTIONS = [(f, i, c, h, w) for f, h, w in GRIDS for c in CHANNELS for i in (c, 3 * c) if h <= 80 or c <= 192]
UPSAMPLING = [(12, 384, 192, 160, 288), (12, 192, 96, 320, 576), (12, 288, 96, 480, 832), (1, 96, 96, 320, 576)]
SMALLER_DECODERS = [(12, 72, 24, 320, 576), (12, 144, 48, 160, 288), (12, 128, 64, 320, 576), (3, 512, 256, 40, 72)]
SMALL_CONVOLUTIONS = [(3, 96, 32, 16, 16), (6, 96, 32, 32, 32), (12, 48, 16, 64, 64), (12, 48, 16, 128, 128)]
COPIES = [1 << shift for shift in (18, 20, 22, 24, 26, 28, 30)]
ROWS = [(192, 192), (2160, 1536), (4680, 1536), (2160, 5120), (4680, 5120), (2160, 13824)]
WARM_UP_S = 4.0


def block_products() -> list[Sample]:
    """The products of a transformer's block, whole and split over ranks by columns or by rows."""
    found: list[Sample] = []
    for m in TOKENS:
        for dim, hidden in WIDTHS:
            for d in RANKS:
                found += [(m, 2 * dim // d, dim), (m, dim // d, dim), (m, dim, dim // d)]
                found += [(m, hidden // d, dim), (m, dim, hidden // d)]
    return list(dict.fromkeys(found))


def table(rates: Sequence[Rate]) -> list[list[float]]:
    """As rows of a file: the size, then 10⁹ a second."""
    return [[*size, float(f"{rate / 1e9:.4g}")] for size, rate in rates]


def gpu_rates(watch: Stopwatch, only: Sequence[str]) -> dict[str, Any]:
    """All that is measured on one GPU, or some of it."""
    device, half, single = watch.device, torch.bfloat16, torch.float32
    products = block_products() + ROUND + TEXT + SINGLE
    parts: dict[str, Callable[[], Any]] = {
        "launch_s": lambda: float(f"{micro.launch_seconds(watch):.3g}"),
        "products": lambda: {
            "bfloat16": table(micro.products(watch, half, products)),
            "float8_e4m3fn": table(micro.products(watch, FP8, [size for size in products if size[0] > 1]))
            if torch.cuda.get_device_capability(device) >= (8, 9)
            else [],
            "float32": table(micro.products(watch, single, SMALL + ROUND[:6])),
        },
        "convolutions": lambda: {
            "bfloat16": table(micro.convolutions(watch, half, WAN_CONVOLUTIONS + UPSAMPLING + SMALLER_DECODERS)),
            "float32": table(micro.convolutions(watch, single, SMALL_CONVOLUTIONS)),
        },
        "attention": lambda: gpu_attention(watch),
        "copies": lambda: table(micro.copies(watch, COPIES)),
        "rows": lambda: table(micro.rows(watch, half, ROWS)),
    }
    end = time.monotonic() + WARM_UP_S
    while time.monotonic() < end:  # so that the first figures are at the power limit as well
        micro.products(watch, half, [(8192, 8192, 8192)])
    return {name: measure() for name, measure in parts.items() if name in (only or parts)}


def gpu_attention(watch: Stopwatch) -> dict[str, Any]:
    """By kernel, then by type."""
    half = torch.bfloat16
    found = {"cudnn": {"bfloat16": table(micro.attention(watch, half, ATTENTION + TO_TEXT, cudnn))}}
    kernel = attention_kernel(watch.device, half, 128)
    if flash_version() != NONE and kernel is not cudnn:
        found[FLASH] = {"bfloat16": table(micro.attention(watch, half, ATTENTION + TO_TEXT, kernel))}
    found["torch"] = {
        "bfloat16": table(micro.attention(watch, half, OTHER_HEADS)),
        "float32": table(micro.attention(watch, torch.float32, SMALL_ATTENTION)),
    }
    return found


def core_rates(seconds: float) -> dict[str, Any]:
    """The same on one core of the processor, at sizes that it can do."""
    watch, types = Stopwatch(torch.device("cpu"), seconds), {"float32": torch.float32, "bfloat16": torch.bfloat16}
    sizes = SMALL_ATTENTION + CPU_ATTENTION
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found: dict[str, Any] = {
        "call_s": float(f"{micro.call_seconds(watch.device):.3g}"),
        "products": {name: table(micro.products(watch, kind, SMALL + ROUND[:2])) for name, kind in types.items()},
        "convolutions": {n: table(micro.convolutions(watch, kind, SMALL_CONVOLUTIONS)) for n, kind in types.items()},
        "attention": {"torch": {name: table(micro.attention(watch, kind, sizes)) for name, kind in types.items()}},
        "copies": table(micro.copies(watch, COPIES[:5])),
        "rows": table(micro.rows(watch, torch.float32, ROWS[:2])),
    }
    torch.set_num_threads(threads)
    return found
