"""Which jobs of a sweep differ by more than noise: medians over interleaved runs, with bootstrap intervals.

Pure functions of rates. Knows nothing of what a job is.

The model: log(rate) of a run = job + round + noise. A round runs every job once, so what changes slowly (heat, a clock,
a neighbour) moves all runs of a round alike, and is taken out by Tukey's median polish. The size of the noise is taken
from what is left, over all jobs together: three runs of one job alone say little. It is never taken to be smaller than
what the runs show within themselves, and is drawn towards what two runs on a quiet machine differ by, the less so the
noisier this one is.

Then the winner is compared with all others at once (multiple comparisons with the best): one of many may lead by luck.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

NOISE = 0.03
"""A smaller lead in frame rate is a tie even where it could be measured: no one would see it."""
QUIET_ERROR, QUIET_WEIGHT = 0.02, 4
"""How much runs of one job differ on a quiet machine (relative), and for how many runs that counts."""
LEVEL, WRONG = 0.95, 0.01
"""Of the intervals, and the share of sweeps in which luck alone may name a winner."""
DRAWS = 4000
SEED = 2026
MOST_DELAY = 0.9
"""Above it the rate without the load of others can't be told at all."""
Array = NDArray[np.float64]


class Estimate(msgspec.Struct, frozen=True):
    """One job's rate with its interval; high is infinite where others took too much of the machine to tell."""

    rate: float
    low: float
    high: float


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """estimates: by job. best: the index of the fastest. tied: with it, itself included. noise: of one run, relative.

    lead: of the best over the fastest job that is not tied, relative, with its interval; None where all are tied.
    """

    estimates: tuple[Estimate, ...]
    best: int
    tied: tuple[int, ...]
    noise: float
    lead: Estimate | None


def interval(found: Estimate, scale: float = 1.0, digits: int = 1) -> str:
    """Both ends, or what is sure where the upper one can't be told."""
    low, high = scale * found.low, scale * found.high
    return f"{low:.{digits}f} to {high:.{digits}f}" if math.isfinite(high) else f"at least {low:.{digits}f}"


def compare(log_rates: Array, errors: Array, delays: Sequence[float], seed: int = SEED) -> Comparison:
    """Compare jobs by their runs.

    Args:
        log_rates: [jobs, rounds], natural logarithms; NaN where a job has no run in a round. Each job has one or more.
        errors: [jobs, rounds], relative standard errors within each run; NaN as in log_rates.
        delays: for each job, the share of its time that others may have taken from it.
    """
    jobs = len(log_rates)
    levels, left = median_polish(log_rates)
    noise, weight = _noise(left, errors)
    drawn = _draws(~np.isnan(log_rates), noise, weight, np.random.default_rng(seed))
    delay = np.array([-math.log1p(-share) if share < MOST_DELAY else math.inf for share in delays])
    best = int(np.argmax(levels))
    margin = _margin(drawn, best)
    tied = [j for j in range(jobs) if j == best or levels[best] - levels[j] - delay[j] <= margin]
    others = [j for j in range(jobs) if j not in tied]
    return Comparison(
        estimates=tuple(_estimate(levels[j], drawn[:, j], delay[j]) for j in range(jobs)),
        best=best,
        tied=tuple(sorted(tied, key=lambda j: -levels[j])),
        noise=noise,
        lead=_lead(levels, drawn, delay, best, others),
    )


def median_polish(table: Array, rounds: int = 20) -> tuple[Array, Array]:
    """The level of each row, and what is left of the table once rows' and columns' levels are taken out.

    Columns' levels are counted from their median, so that the rows' have the size of the table's values.
    """
    columns = np.zeros(table.shape[1])
    rows: Array = np.nanmedian(table, axis=1)
    for _ in range(rounds):
        columns = np.nanmedian(table - rows[:, None], axis=0)
        columns -= np.median(columns)
        rows = np.nanmedian(table - columns[None, :], axis=1)
    return rows, table - rows[:, None] - columns[None, :]


def _noise(left: Array, errors: Array) -> tuple[float, float]:
    """The standard deviation of a run, and how many free runs it is known from."""
    jobs, rounds = left.shape
    free = max(0, int(np.count_nonzero(~np.isnan(left))) - jobs - rounds + 1)
    seen = float(np.nansum(left**2)) / free if free else 0.0
    quiet = QUIET_WEIGHT * min(1.0, QUIET_ERROR**2 / seen) if seen else float(QUIET_WEIGHT)
    between = math.sqrt((free * seen + quiet * QUIET_ERROR**2) / (free + quiet))
    within = math.sqrt(float(np.nanmean(errors**2)))
    return max(between, within), free + quiet


def _draws(present: NDArray[np.bool_], noise: float, weight: float, random: np.random.Generator) -> Array:
    """[draws, jobs]: by how much each job's level may be wrong. The size of the noise is itself only an estimate."""
    size = noise * np.sqrt(weight / random.chisquare(weight, DRAWS))
    errors = random.standard_normal((DRAWS, *present.shape)) * size[:, None, None]
    medians: Array = np.nanmedian(np.where(present, errors, np.nan), axis=2)
    return medians


def _margin(drawn: Array, best: int) -> float:
    """The lead over all others together that luck alone gives in no more than WRONG of all sweeps."""
    others = np.delete(drawn, best, axis=1)
    if not others.shape[1]:
        return 0.0
    luck = np.quantile(drawn[:, best] - others.min(axis=1), 1 - WRONG)
    return max(float(luck), math.log1p(NOISE))


def _estimate(level: float, drawn: Array, delay: float) -> Estimate:
    low, high = (float(end) for end in np.quantile(level + drawn, [(1 - LEVEL) / 2, 1 - (1 - LEVEL) / 2]))
    return Estimate(math.exp(level), math.exp(low), math.exp(high + delay))


def _lead(levels: Array, drawn: Array, delay: Array, best: int, others: Sequence[int]) -> Estimate | None:
    if not others:
        return None
    second = max(others, key=lambda j: levels[j])
    lead = levels[best] - levels[second]
    ends = np.quantile(lead + drawn[:, best] - drawn[:, second], [(1 - LEVEL) / 2, 1 - (1 - LEVEL) / 2])
    low, high = float(ends[0]) - float(delay[second]), float(ends[1]) + float(delay[best])
    return Estimate(math.expm1(lead), math.expm1(low), math.expm1(high))
