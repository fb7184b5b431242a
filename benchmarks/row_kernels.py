"""The generator's own kernels on one GPU, compared with plain torch code: error, microseconds, bytes per second.

    python -m benchmarks.row_kernels
    python -m benchmarks.row_kernels --device cpu --only small      # the operators that a CPU uses

Inputs are random and have the sizes of a pass of Wan2.1 1.3B (480×832) and 14B (320×576). The error is the norm of the
difference divided by the norm of the plain result in float32; 8-bit results are multiplied by their scales first. Bytes
are those that must be read and written once. Times are those of launches that are replayed from a graph.
"""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu

from benchmarks.machine import describe
from benchmarks.sizes import ALL_CASES, FRAMES
from benchmarks.timing import device_named, distance, milliseconds
from pp1_orchestrator.models.wan.ops.norms import (
    Affine,
    fused_add_layer_norm,
    fused_layer_norm,
    fused_mean_square,
    fused_rms_norm,
    gated_add_float,
    layer_norm_float,
    mean_square_ref,
    qk_norm_rope_,
    rms_norm_ref,
)
from pp1_orchestrator.models.wan.ops.quantize import (
    fused_add_layer_norm_quantize,
    fused_layer_norm_quantize,
    quantize_rowwise,
)
from pp1_orchestrator.models.wan.rope import rope_cos_sin, rope_table, rotate

DTYPE, EPS = torch.bfloat16, 1e-6
SIZES = ("1.3B-480x832", "14B-320x576")
LAUNCHES, REPEATS = 20, 20
Row = tuple[str, float, Callable[[], Any], int]
"""A kernel's name, its error, a call of it, and the bytes of that call."""


def microseconds(call: Callable[[], Any], device: torch.device) -> float:
    call()
    if device.type != "cuda":
        return milliseconds(call, REPEATS, device)[0] * 1e3
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(LAUNCHES):
            call()
    return milliseconds(graph.replay, REPEATS, device)[0] * 1e3 / LAUNCHES


def wide(narrow: Tensor, scale: Tensor) -> Tensor:
    return narrow.float() * scale


def root_mean(x: Tensor, weight: Tensor) -> Tensor:
    return rms_norm_ref(x, mean_square_ref(x), weight, EPS)


class Rows:
    """Inputs of one generator's pass, and each kernel on them."""

    def __init__(self, name: str, device: torch.device) -> None:
        case, self._device = ALL_CASES[name], device
        sizes = case.sizes
        self._heads, self._hidden, self._width = sizes.num_heads, sizes.ffn_dim, sizes.dim
        self._head, (height, width) = sizes.dim // sizes.num_heads, case.latent_size
        self._grid = FRAMES, height // 2, width // 2
        self._tokens = math.prod(self._grid)

    def qk_norm_rope(self, ranks: int) -> Row:
        """As the last of `ranks` ranks runs it: it holds the last heads and gets the means over all heads."""
        table = rope_table(self._head, 6, *self._grid, self._device)
        cos_sin = rope_cos_sin(table)
        (q, k), weights = (self._made(), self._made()), self._values()
        heads = self._heads // ranks
        cache = torch.zeros(1, 2 * self._tokens, heads, self._head, device=self._device, dtype=DTYPE)
        keys = cache[:, self._tokens :]
        squares = None if ranks == 1 else fused_mean_square(torch.cat([q, k], -1), 2)
        here = torch.cat([x[..., -heads * self._head :] for x in (q, k)], -1)
        q_part, k_part = (weight[-heads * self._head :].contiguous() for weight in weights)

        def call() -> Tensor:
            return qk_norm_rope_(here, squares, q_part, k_part, *cos_sin, EPS, 0, keys)

        whole = [root_mean(x, w).unflatten(-1, (-1, self._head)) for x, w in zip((q, k), weights, strict=True)]
        wanted = [rotate(x[:, :, -heads:], table) for x in whole]
        worst = max(distance(call(), wanted[0]), distance(keys, wanted[1]))
        assert not cache[:, : self._tokens].any(), "written where it must not"
        return f"qk_norm_rope, 1/{ranks} of the heads", worst, call, 4 * keys.nbytes

    def mean_square(self, ranks: int) -> Row:
        qk = self._made(2 * self._width // ranks)
        wanted = torch.cat([mean_square_ref(x) for x in qk.chunk(2, -1)], -1)
        worst = distance(fused_mean_square(qk, 2), wanted)
        return f"mean_square, 1/{ranks} of the heads", worst, lambda: fused_mean_square(qk, 2), qk.nbytes

    def quantize(self, width: int, *, apply_gelu: bool) -> Row:
        rows = self._made(width)
        wanted = gelu(rows.float(), approximate="tanh") if apply_gelu else rows
        worst = distance(wide(*quantize_rowwise(rows, apply_gelu)), wanted)
        name = "quantize_rowwise, gelu" if apply_gelu else "quantize_rowwise"
        return name, worst, lambda: quantize_rowwise(rows, apply_gelu), rows.nbytes * 3 // 2

    def layer_norm(self) -> Row:
        x, affine = self._made(), self._affine()
        worst = distance(fused_layer_norm(x, *affine), layer_norm_float(x, *affine))
        return "layer_norm", worst, lambda: fused_layer_norm(x, *affine), x.nbytes * 2

    def layer_norm_quantize(self) -> Row:
        x, affine = self._made(), self._affine()
        worst = distance(wide(*fused_layer_norm_quantize(x, *affine)), layer_norm_float(x, *affine))
        return "layer_norm_quantize", worst, lambda: fused_layer_norm_quantize(x, *affine), x.nbytes * 3 // 2

    def add_layer_norm(self) -> Row:
        inputs, wanted, affine = self._addition()
        total, out = fused_add_layer_norm(*inputs, *affine)
        worst = max(distance(total, wanted), distance(out, layer_norm_float(wanted.to(DTYPE), *affine)))
        return "add_layer_norm", worst, lambda: fused_add_layer_norm(*inputs, *affine), total.nbytes * 4

    def add_layer_norm_quantize(self) -> Row:
        inputs, wanted, affine = self._addition()
        total, *rows = fused_add_layer_norm_quantize(*inputs, *affine)
        worst = max(distance(total, wanted), distance(wide(*rows), layer_norm_float(wanted.to(DTYPE), *affine)))
        name, nbytes = "add_layer_norm_quantize", total.nbytes * 7 // 2
        return name, worst, lambda: fused_add_layer_norm_quantize(*inputs, *affine), nbytes

    def rms_norm(self) -> Row:
        x, (weight, _) = self._made(), self._values()
        worst = distance(fused_rms_norm(x, None, weight, EPS, 0), root_mean(x, weight))
        return "rms_norm", worst, lambda: fused_rms_norm(x, None, weight, EPS, 0), x.nbytes * 2

    def _made(self, width: int | None = None) -> Tensor:
        """One row for each token, as wide as the model by default."""
        return torch.randn(1, self._tokens, width or self._width, device=self._device, dtype=DTYPE)

    def _values(self) -> list[Tensor]:
        """Two values for each column."""
        return [torch.randn(self._width, device=self._device, dtype=DTYPE) for _ in range(2)]

    def _affine(self) -> Affine:
        scale, shift = self._values()
        return Affine(scale, shift, 1, EPS)

    def _addition(self) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor, Affine]:
        x, change, (gate, _) = self._made(), self._made(), self._values()
        return (x, change, gate), gated_add_float(x, change, gate), self._affine()

    def all(self) -> list[Row]:
        return [
            self.qk_norm_rope(1),
            self.qk_norm_rope(2),
            self.mean_square(2),
            self.quantize(self._width, apply_gelu=False),
            self.quantize(self._hidden, apply_gelu=True),
            self.layer_norm(),
            self.layer_norm_quantize(),
            self.add_layer_norm(),
            self.add_layer_norm_quantize(),
            self.rms_norm(),
        ]


@torch.inference_mode()
def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(SIZES), choices=list(ALL_CASES))
    parser.add_argument("--device", type=device_named, default="cuda")
    options = parser.parse_args(words)
    sys.stdout.write(f"{describe()}\n\n| size | kernel | error | µs | GB/s |\n|---|---|---|---|---|\n")
    for size in options.only:
        for name, worst, call, nbytes in Rows(size, options.device).all():
            took = microseconds(call, options.device)
            sys.stdout.write(f"| {size} | {name} | {worst:.1e} | {took:.1f} | {nbytes / took / 1e3:.0f} |\n")


if __name__ == "__main__":
    main()
