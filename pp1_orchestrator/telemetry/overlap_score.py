"""OverlapScore: how much of rank 0's work is hidden behind the mesh's. Pure functions of seconds.

Per chunk: hidden = max(0, stage0 + mesh − period), ratio = hidden / min(stage0, mesh). The score is the median ratio
after the warm-up. 0: nothing overlaps. 1: the shorter of the two costs nothing. Jitter can lift it above 1; only what
displays it clips it.
"""

import statistics
from collections.abc import Sequence

WARMUP_CHUNKS = 10
"""Chunks that are left out by default."""

_MIN_STAGE_S = 1e-6
"""Avoids a division by zero."""


def hidden_s(stage0_s: float, mesh_s: float, period_s: float) -> float:
    """Seconds of a chunk's work that ran beside other work, at least 0."""
    return max(0.0, stage0_s + mesh_s - period_s)


def hidden_ratio(stage0_s: float, mesh_s: float, period_s: float) -> float:
    """The hidden seconds as a share of the shorter stage."""
    return hidden_s(stage0_s, mesh_s, period_s) / max(_MIN_STAGE_S, min(stage0_s, mesh_s))


def overlap_score(
    stage0_s: Sequence[float], mesh_s: Sequence[float], period_s: Sequence[float], warmup: int = WARMUP_CHUNKS
) -> float | None:
    """Median ratio after the first `warmup` chunks; None if none is left. Raises ValueError for unequal lengths."""
    ratios = [hidden_ratio(*times) for times in _after_warmup(stage0_s, mesh_s, period_s, warmup)]
    return statistics.median(ratios) if ratios else None


def hidden_ms_p50(
    stage0_s: Sequence[float], mesh_s: Sequence[float], period_s: Sequence[float], warmup: int = WARMUP_CHUNKS
) -> float | None:
    """Median hidden milliseconds after the first `warmup` chunks; None if none is left."""
    hidden = [1e3 * hidden_s(*times) for times in _after_warmup(stage0_s, mesh_s, period_s, warmup)]
    return statistics.median(hidden) if hidden else None


def _after_warmup(
    stage0_s: Sequence[float], mesh_s: Sequence[float], period_s: Sequence[float], warmup: int
) -> list[tuple[float, float, float]]:
    if warmup < 0:
        raise ValueError(f"warmup={warmup}: 0 or more chunks can be left out")
    return list(zip(stage0_s, mesh_s, period_s, strict=True))[warmup:]
