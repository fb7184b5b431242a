"""Forecasts a chunk's time on a tensor-parallel mesh from one GPU: one rank's work measured, its all-reduces modelled.

    python -m benchmarks.tp_forecast --only 14B-320x576 --degrees 1 2 4

The measured rank is the first of `degree`. It holds and computes its part; its all-reduces are counted and left out.
An all-reduce of n bytes over d ranks is assumed to take LATENCY + 2·(d−1)/d · n / BANDWIDTH, as a ring does, and to
overlap with nothing. LINKS has both for each kind of link: the bandwidth in one direction that large all-reduces
reach, and the time of the smallest one. `benchmarks.tp_measured` measures real ranks.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.machine import describe
from benchmarks.rank_chunks import WAYS, RankChunks
from benchmarks.sizes import ALL_CASES, CASES, PIXEL_FRAMES, Case
from benchmarks.timing import device_named, waited_for
from pp1_orchestrator.planning.op_counter import CountingShard


@dataclass(frozen=True, slots=True)
class Link:
    """Bytes per second in one direction; seconds of the smallest all-reduce."""

    name: str
    bandwidth: float
    latency_s: float

    def seconds(self, degree: int, sums: int, nbytes: int) -> float:
        """Seconds of this many all-reduces with this many bytes in total."""
        if degree == 1:
            return 0.0
        return sums * self.latency_s + 2 * (degree - 1) / degree * nbytes / self.bandwidth


LINKS = (
    Link("NVLink 4", 360e9, 15e-6),  # 450 GB/s by the wires, of which long messages get about 80 %
    Link("PCIe 5", 50e9, 25e-6),  # 16 lanes, 64 GB/s by the wires
    Link("PCIe 4", 25e9, 25e-6),  # half of that
)


@dataclass(frozen=True, slots=True)
class RankTime:
    """One rank's chunk: its work, and its all-reduces."""

    degree: int
    own_s: float
    sums: int
    nbytes: int

    def total_s(self, link: Link) -> float:
        return self.own_s + link.seconds(self.degree, self.sums, self.nbytes)


class Unsummed:
    """The first of several ranks, without its all-reduces."""

    rank = 0

    def __init__(self, degree: int) -> None:
        self.degree = degree

    def all_reduce(self, tensor: Tensor) -> Tensor:
        return tensor

    def all_to_all(self, send: Sequence[Tensor], receive: Sequence[Tensor]) -> None:
        raise NotImplementedError("tensor parallelism exchanges nothing")


@torch.inference_mode()
def measure(
    case: Case, degree: int, device: torch.device, dtype: torch.dtype, repeats: int, way: str = "eager"
) -> RankTime:
    """A chunk at a full window. Raises ValueError if `degree` does not divide the model."""
    counting = CountingShard(degree)
    chunks = RankChunks(case, counting, device, dtype, "eager")
    chunks.fill()
    counting.reset()
    chunks()
    sums, nbytes = counting.reductions, counting.nbytes
    if way != "eager":  # what is compiled or replayed counts nothing
        del chunks
        chunks = RankChunks(case, Unsummed(degree), device, dtype, way)
        chunks.fill()
    return RankTime(degree, statistics.median(waited_for(chunks, repeats)) / 1e3, sums, nbytes)


def row(name: str, found: RankTime, one: RankTime) -> str:
    """one: the chunk of a mesh of one rank."""
    totals = [found.total_s(link) for link in LINKS]
    forecast = " | ".join(f"{1e3 * total:.0f} | {PIXEL_FRAMES / total:.1f}" for total in totals)
    own = f"{1e3 * found.own_s:.1f} | {one.own_s / found.own_s:.2f} | {found.sums} | {found.nbytes / 2**20:.0f}"
    return f"| {name} | {found.degree} | {own} | {forecast} |"


def header() -> list[str]:
    links = " | ".join(f"{link.name}: ms | FPS" for link in LINKS)
    columns = ["generator", "ranks", "own work, ms per chunk", "times as fast", "all-reduces", "MiB reduced", links]
    return [f"| {' | '.join(columns)} |", "|" + "---|" * (6 + 2 * len(LINKS))]


def rows(name: str, case: Case, degrees: Sequence[int], measured: Callable[[Case, int], RankTime]) -> list[str]:
    found = [measured(case, degree) for degree in degrees]
    return [row(name, each, found[0]) for each in found]


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=list(ALL_CASES))
    parser.add_argument("--degrees", nargs="*", type=int, default=[1, 2, 4], help="the first one is the reference")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--way", choices=list(WAYS), default="captured")
    parser.add_argument("--device", type=device_named, default="cuda")
    options = parser.parse_args(words)

    def measured(case: Case, degree: int) -> RankTime:
        torch.cuda.empty_cache()
        return measure(case, degree, options.device, torch.bfloat16, options.repeats, options.way)

    sys.stdout.write("\n".join([describe(), "", *header()]) + "\n")
    for name in options.only:
        sys.stdout.write("\n".join(rows(name, ALL_CASES[name], options.degrees, measured)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
