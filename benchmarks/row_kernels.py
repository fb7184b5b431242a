"""The generator's own kernels on one GPU, beside the same maths written out: error, microseconds, bytes a second.

    python -m benchmarks.row_kernels
    python -m benchmarks.row_kernels --device cpu --only small      # the same operators' other form

Inputs are random, at the sizes that a pass of Wan2.1 1.3B (480×832) and 14B (320×576) has. Errors are the norm of the
difference by the norm of what is written out, in float32; of what is rounded to 8 bits, with its scales applied. Bytes
are those that must be read and written once. Times are those of launches replayed from a graph.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm

from benchmarks.machine import describe
from benchmarks.sizes import ALL_CASES, FRAMES
from benchmarks.timing import device_named, distance, milliseconds
from pp1_orchestrator.models.wan.ops.norms import add_norm, mean_squares, norm, qk_norm_rope_, rms, rope_cos_sin, rotate
from pp1_orchestrator.models.wan.ops.quantize import add_norm_rounded, norm_rounded, quantize_rowwise
from pp1_orchestrator.models.wan.rope import rope_table

DTYPE, EPS = torch.bfloat16, 1e-6
SIZES = ("1.3B-480x832", "14B-320x576")
LAUNCHES, REPEATS = 20, 20
Row = tuple[str, float, Callable[[], Any], int]
"""A kernel's name, its error, a call, and the bytes of that call."""


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
    wide_x = x.float()
    return wide_x * torch.rsqrt(wide_x.square().mean(-1, keepdim=True) + EPS) * weight


class Rows:
    """One generator's inputs of a pass, and each kernel on them."""

    def __init__(self, name: str, device: torch.device) -> None:
        case, self._device = ALL_CASES[name], device
        sizes = case.sizes
        self._heads, self._hidden, self._width = sizes.num_heads, sizes.ffn_dim, sizes.dim
        self._head, (height, width) = sizes.dim // sizes.num_heads, case.latent_size
        self._grid = FRAMES, height // 2, width // 2
        self._tokens = math.prod(self._grid)

    def turning(self, ranks: int) -> Row:
        """As one of so many ranks does it, which holds the last heads; the means that it is given are those of all."""
        table = rope_cos_sin(rope_table(self._head, 6, *self._grid, self._device))
        (q, k), weights = (self._made(), self._made()), self._values()
        heads = self._heads // ranks
        cache = torch.zeros(1, 2 * self._tokens, heads, self._head, device=self._device, dtype=DTYPE)
        keys = cache[:, self._tokens :]
        squares = None if ranks == 1 else mean_squares(torch.cat([q, k], -1), 2)
        here = torch.cat([x[..., -heads * self._head :] for x in (q, k)], -1)
        parts = [weight[-heads * self._head :].contiguous() for weight in weights]

        def call() -> Tensor:
            return qk_norm_rope_(here, squares, *parts, *table, EPS, 0, keys)

        whole = [root_mean(x, w).unflatten(-1, (-1, self._head)) for x, w in zip((q, k), weights, strict=True)]
        wanted = [rotate(x[:, :, -heads:], table) for x in whole]
        worst = max(distance(call(), wanted[0]), distance(keys, wanted[1]))
        assert not cache[:, : self._tokens].any(), "written where it must not"
        return f"turn_into, 1/{ranks} of the heads", worst, call, 4 * keys.nbytes

    def mean_squares(self, ranks: int) -> Row:
        qk = self._made(2 * self._width // ranks)
        wanted = torch.stack([x.float().square().mean(-1) for x in qk.chunk(2, -1)], -1)
        worst = distance(mean_squares(qk, 2), wanted)
        return f"mean_squares, 1/{ranks} of the heads", worst, lambda: mean_squares(qk, 2), qk.nbytes

    def rounding(self, width: int, *, activate: bool) -> Row:
        rows = self._made(width)
        wanted = gelu(rows.float(), approximate="tanh") if activate else rows
        name = "rounded, gelu" if activate else "rounded"
        return (
            name,
            distance(wide(*quantize_rowwise(rows, activate)), wanted),
            lambda: quantize_rowwise(rows, activate),
            rows.nbytes * 3 // 2,
        )

    def norm(self) -> Row:
        x, affine = self._made(), self._values()
        worst = distance(norm(x, affine, 1, EPS), self._normal(x, affine))
        return "norm", worst, lambda: norm(x, affine, 1, EPS), x.nbytes * 2

    def norm_rounded(self) -> Row:
        x, affine = self._made(), self._values()
        worst = distance(wide(*norm_rounded(x, affine, 1, EPS)), self._normal(x, affine))
        return "norm_rounded", worst, lambda: norm_rounded(x, affine, 1, EPS), x.nbytes * 3 // 2

    def add_norm(self) -> Row:
        inputs, wanted, affine = self._addition()
        total, out = add_norm(*inputs, affine, 1, EPS)
        worst = max(distance(total, wanted), distance(out, self._normal(wanted.to(DTYPE), affine)))
        return "add_norm", worst, lambda: add_norm(*inputs, affine, 1, EPS), total.nbytes * 4

    def add_norm_rounded(self) -> Row:
        inputs, wanted, affine = self._addition()
        total, *rows = add_norm_rounded(*inputs, affine, 1, EPS)
        worst = max(distance(total, wanted), distance(wide(*rows), self._normal(wanted.to(DTYPE), affine)))
        return "add_norm_rounded", worst, lambda: add_norm_rounded(*inputs, affine, 1, EPS), total.nbytes * 7 // 2

    def rms(self) -> Row:
        x, (weight, _) = self._made(), self._values()
        worst = distance(rms(x, None, weight, EPS, 0), root_mean(x, weight))
        return "rms", worst, lambda: rms(x, None, weight, EPS, 0), x.nbytes * 2

    def _made(self, width: int | None = None) -> Tensor:
        """Tokens' rows, as wide as the model where nothing else is said."""
        return torch.randn(1, self._tokens, width or self._width, device=self._device, dtype=DTYPE)

    def _values(self) -> list[Tensor]:
        """A value for each column, twice."""
        return [torch.randn(self._width, device=self._device, dtype=DTYPE) for _ in range(2)]

    def _addition(self) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor, list[Tensor]]:
        x, change, (gate, _) = self._made(), self._made(), self._values()
        wanted = x.float() + change.float() * gate.float()
        return (x, change, gate), wanted, self._values()

    def _normal(self, x: Tensor, affine: Sequence[Tensor]) -> Tensor:
        scale, shift = (part.float() for part in affine)
        return layer_norm(x.float(), x.shape[-1:], eps=EPS) * (1 + scale) + shift

    def all(self) -> list[Row]:
        return [
            self.turning(1),
            self.turning(2),
            self.mean_squares(2),
            self.rounding(self._width, activate=False),
            self.rounding(self._hidden, activate=True),
            self.norm(),
            self.norm_rounded(),
            self.add_norm(),
            self.add_norm_rounded(),
            self.rms(),
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
