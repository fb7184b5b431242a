"""How fast one run was once it had settled: where its warm-up ends, its median pace, and how exact that is.

Pure functions of the records of its chunks. Knows nothing of jobs or of other runs.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from pp1_orchestrator.telemetry.records import ChunkRecord, periods_s

BLOCK = 4
"""Successive chunks that are looked at together: with overlap, short and long periods may take turns."""
FEWEST = 4
"""With fewer periods than this there is no way to tell where a warm-up ends."""
NEARLY, LATEST = 1.25, 0.6
"""A variance that is as good as the smallest, and the part of the first half after which a warm-up has no end there."""
DRAWS = 400
Array = NDArray[np.float64]


class SteadyRate(msgspec.Struct, frozen=True):
    """log_fps: of the median pace. error: its standard error, relative, from within the run. warmup: chunks left out.

    settled: False where the pace was still changing at the middle of the run, so that no warm-up could be found.
    """

    log_fps: float
    error: float
    warmup: int
    settled: bool


def steady_rate(records: Sequence[ChunkRecord], random: np.random.Generator) -> SteadyRate | None:
    """None for a run with too few chunks."""
    pace = np.array(
        [
            (index, period, record.frames)
            for index, (record, period) in enumerate(zip(records, periods_s(records), strict=True))
            if period is not None and period > 0 and record.frames > 0
        ]
    ).reshape(-1, 3)
    if len(pace) < FEWEST:
        return None
    seconds, frames = pace[:, 1], pace[:, 2]
    start, settled = warm_up(np.log(seconds / frames))
    blocks = _block_paces(seconds[start:], frames[start:])
    spread = _resampled_medians(blocks, len(seconds) - start, random).std()
    return SteadyRate(
        log_fps=-math.log(float(np.median(blocks))),
        error=float(spread / np.median(blocks)),
        warmup=int(pace[start, 0]),
        settled=settled,
    )


def warm_up(values: Array) -> tuple[int, bool]:
    """How many of the first values to leave out, and whether the rest looks settled.

    The marginal standard error rule: a cut in the first half that makes the standard error of what is left smallest; of
    those that do nearly as well, the first one. A value that stands alone is no warm-up: each is replaced by the median
    of itself and its neighbours before.
    """
    padded = np.concatenate([values[:1], values, values[-1:]])
    smooth = np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0)
    last = len(values) // 2
    errors = [smooth[cut:].var() / (len(smooth) - cut) for cut in range(last + 1)]
    cut = int(np.argmax(np.array(errors) <= NEARLY * min(errors)))
    return cut, cut <= LATEST * last


def _block_paces(seconds: Array, frames: Array) -> Array:
    """Seconds a frame of all blocks of successive chunks, which overlap."""
    ones = np.ones(min(BLOCK, len(seconds)))
    paces: Array = np.convolve(seconds, ones, "valid") / np.convolve(frames, ones, "valid")
    return paces


def _resampled_medians(blocks: Array, chunks: int, random: np.random.Generator) -> Array:
    """A moving-block bootstrap: medians of as many random blocks as the run has room for."""
    drawn = random.integers(0, len(blocks), (DRAWS, max(1, chunks // BLOCK)))
    medians: Array = np.median(blocks[drawn], axis=1)
    return medians
