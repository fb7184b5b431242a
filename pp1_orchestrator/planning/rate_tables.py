"""Measured rates by size, as `benchmarks.machine_rates` writes them, and rates at sizes in between.

Sizes are compared by the logarithms of their numbers. Knows nothing of models, settings or of what a machine is.
"""

import math
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, cast

import msgspec
import yaml
from msgspec import Meta

from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.user_paths import user_path

FOLDER = Path(__file__).with_name("rates")
"""Files that ship with the program."""
NEIGHBOURS = 4
SCALE = 1e9
"""Files hold 10⁹ FLOPs or bytes a second."""
Rows = tuple[tuple[float, ...], ...]
"""Of each size: its numbers, then the rate."""
ByType = Mapping[str, Rows]
"""By torch's name of the type."""
Size = Annotated[float, Meta(ge=1)]
Rate = Annotated[float, Meta(gt=0)]
Seconds = Annotated[float, Meta(ge=0)]
Products = dict[str, tuple[tuple[Size, Size, Size, Rate], ...]]
Convolutions = dict[str, tuple[tuple[Size, Size, Size, Size, Size, Rate], ...]]
Attention = dict[str, tuple[tuple[Size, Size, Size, Size, Rate], ...]]
MemoryRates = Annotated[tuple[tuple[Size, Rate], ...], Meta(min_length=1)]
KERNELS = ("torch", "cudnn")
"""Of attention: one of them is always needed."""


class RateTables(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One device. Sizes: of a product its rows, columns and depth; of a convolution its frames, inputs, outputs, height
    and width; of attention the width of a head, heads, queries and keys; of a pass over memory the bytes it moves.

    peaks_tflops, bandwidth_gb_s: by the vendor's datasheet. launch_s: of a kernel in a captured graph. call_s: what an
    operation costs the host. rows: this package's kernels, and passes of a compiler; copies: all others.
    """

    name: str
    source: str
    peaks_tflops: dict[str, Rate] = {}
    bandwidth_gb_s: Rate | None = None
    context_bytes: int = 0
    launch_s: Seconds = 0.0
    call_s: Seconds
    message_s: Seconds | None = None
    message_bytes_s: Rate | None = None
    products: Products
    convolutions: Convolutions
    attention: dict[str, Attention]
    copies: MemoryRates
    rows: MemoryRates

    def __post_init__(self) -> None:
        """Raises ValueError without any rate of one kind of work."""
        of_attention = [self.attention.get(name, {}) for name in KERNELS]
        for name, found in (("products", [self.products]), ("convolutions", [self.convolutions]),
                            (f"attention by {' or '.join(KERNELS)}", of_attention)):  # fmt: skip
            if not any(rows for by_type in found for rows in by_type.values()):
                raise ValueError(f"no rate of {name}")


@cache
def read_rates(name: str) -> RateTables:
    """A file that ships with the program, or one's own. Raises ConfigError for one that can't be read."""
    path = user_path(name)
    path = path if path.suffix else FOLDER / f"{name}.yaml"
    try:
        return msgspec.convert(yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader), RateTables)
    except (OSError, yaml.YAMLError, msgspec.ValidationError) as error:
        known = ", ".join(sorted(found.stem for found in FOLDER.glob("*.yaml")))
        line = " ".join(str(error).split())
        raise ConfigError(f"machine.rates={name}: {line}; choices: {known}, or a file of one's own") from error


def convolution_rows(rows: Rows) -> Rows:
    """Sizes of 3×3 convolutions as those of the products that they are."""
    return tuple((f * h * w, outer, 9 * inner, rate) for f, inner, outer, h, w, rate in rows)


class RateTable:
    """Rates of one kind of work."""

    def __init__(self, rows: Rows) -> None:
        self._rates = {tuple(map(int, row[:-1])): row[-1] * SCALE for row in rows}

    @cached_property
    def _logs(self) -> list[tuple[tuple[float, ...], float]]:
        return [(_logs(size), rate) for size, rate in self._rates.items()]

    def rate(self, size: tuple[int, ...]) -> float:
        """Measured at this size, or else a mean of those at the nearest sizes, weighted by their nearness."""
        if size in self._rates:
            return self._rates[size]
        wanted = _logs(size)
        near = sorted((math.dist(wanted, found), rate) for found, rate in self._logs)[:NEIGHBOURS]
        weights = [1 / max(distance, 1e-9) ** 2 for distance, _ in near]
        logs = sum(weight * math.log(rate) for weight, (_, rate) in zip(weights, near, strict=True))
        return math.exp(logs / sum(weights))


class BandwidthCurve:
    """Bytes a second by the bytes that a pass moves, between the smallest and the largest that were measured."""

    def __init__(self, rows: Rows) -> None:
        self._points = sorted((math.log(size), rate * SCALE) for size, rate in cast(list[tuple[float, float]], rows))

    def rate(self, nbytes: int) -> float:
        """By the nearest measured sizes on both sides."""
        x, points = math.log(max(1, nbytes)), self._points
        before = max((point for point in points if point[0] <= x), default=points[0])
        after = min((point for point in points if point[0] >= x), default=points[-1])
        if before[0] == after[0]:
            return before[1]
        share = (x - before[0]) / (after[0] - before[0])
        return before[1] + share * (after[1] - before[1]) if 0 <= share <= 1 else before[1]


def _logs(size: tuple[int, ...]) -> tuple[float, ...]:
    return tuple(math.log(max(1, number)) for number in size)
