"""OverlapScore: how much of rank 0's work is hidden behind the mesh's. Pure functions of seconds.

Per chunk: hidden = max(0, stage0 + mesh − period), ratio = hidden / min(stage0, mesh). The score is the median ratio of
the chunks after the warm-up. 0: nothing overlaps. 1: the shorter of the two costs nothing. Jitter can lift it above 1;
only what displays it clips it.
"""

import statistics
from collections.abc import Iterable

_MIN_STAGE_S = 1e-6
"""Avoids a division by zero."""


def hidden_s(stage0_s: float, mesh_s: float, period_s: float) -> float:
    """Seconds of a chunk's work that ran beside other work, at least 0."""
    return max(0.0, stage0_s + mesh_s - period_s)


def hidden_ratio(stage0_s: float, mesh_s: float, period_s: float) -> float:
    """The hidden seconds as a share of the shorter stage."""
    return hidden_s(stage0_s, mesh_s, period_s) / max(_MIN_STAGE_S, min(stage0_s, mesh_s))


def overlap_score(chunks: Iterable[tuple[float, float, float]]) -> float | None:
    """Median ratio of chunks, each as (stage0_s, mesh_s, period_s); None without any."""
    ratios = [hidden_ratio(*times) for times in chunks]
    return statistics.median(ratios) if ratios else None
