"""OverlapScore: how much of rank 0's work is hidden behind the mesh's. Pure functions of seconds.

Per chunk: hidden = max(0, stage0 + mesh − period), ratio = hidden / min(stage0, mesh). Jitter, or a result that waits
for the decoder, can lift a ratio above 1. The score is a share: the median of the ratios after the warm-up, each cut to
1. 0: nothing overlaps. 1: the shorter of the two costs nothing.
"""

import statistics
from collections.abc import Iterable

_MIN_STAGE_S = 1e-6
"""Avoids a division by zero."""


def hidden_s(stage0_s: float, mesh_s: float, period_s: float) -> float:
    """Seconds of a chunk's work that ran beside other work, at least 0."""
    return max(0.0, stage0_s + mesh_s - period_s)


def hidden_ratio(stage0_s: float, mesh_s: float, period_s: float) -> float:
    """The hidden seconds by those of the shorter stage; can exceed 1."""
    return hidden_s(stage0_s, mesh_s, period_s) / max(_MIN_STAGE_S, min(stage0_s, mesh_s))


def overlap_score(chunks: Iterable[tuple[float, float, float]]) -> float | None:
    """Median of chunks, each as (stage0_s, mesh_s, period_s): a share from 0 to 1, None without any."""
    shares = [min(1.0, hidden_ratio(*times)) for times in chunks]
    return statistics.median(shares) if shares else None
