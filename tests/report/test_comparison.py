"""Comparing jobs on made-up runs whose truth is known: who wins, how often wrongly, and what widens an interval."""

import math

import numpy as np
import pytest

from pp1_orchestrator.report.comparison import NOISE, WRONG, compare, median_polish

ROUNDS = 3
SWEEPS = 150
"""Simulated sweeps for each rate. Seeded, so that a test always sees the same ones."""


def sweeps(jobs: int, noise: float, lead: float, drift: float = 0.0, bursts: float = 0.0, seed: int = 7):
    """Runs of jobs that are alike, except that job 0 has a lead; jobs take turns as a sweep's do.

    drift: relative change from one run to the next. bursts: share of runs that something slows, by 30 % in the mean.
    """
    random = np.random.default_rng(seed)
    turn = np.array([[(j - round(r * jobs / ROUNDS)) % jobs + r * jobs for r in range(ROUNDS)] for j in range(jobs)])
    truth = 3.0 + math.log1p(lead) * (np.arange(jobs) == 0)
    for _ in range(SWEEPS):
        hit = random.random(turn.shape) < bursts
        slowed = np.where(hit, random.exponential(0.3, turn.shape), 0.0)
        yield truth[:, None] + random.normal(0, noise, turn.shape) - drift * turn - slowed


def winners(jobs: int, noise: float, lead: float, drift: float = 0.0, bursts: float = 0.0) -> list[int]:
    """The job that each simulated sweep names; -1 for a tie."""
    quiet = np.full((jobs, ROUNDS), 0.005)
    found = [compare(runs, quiet, [0.0] * jobs) for runs in sweeps(jobs, noise, lead, drift, bursts)]
    return [one.best if len(one.tied) == 1 else -1 for one in found]


@pytest.mark.parametrize("jobs", [2, 8])
@pytest.mark.parametrize(
    ("noise", "disturbed"),
    [(0.01, {}), (0.03, {}), (0.02, {"drift": 0.005}), (0.02, {"bursts": 0.2}), (0.02, {"drift": -0.02})],
)
def test_of_jobs_that_are_alike_a_winner_is_hardly_ever_named(jobs, noise, disturbed):
    named = sum(winner >= 0 for winner in winners(jobs, noise, 0.0, **disturbed))
    assert named <= math.ceil(2 * WRONG * SWEEPS)


@pytest.mark.parametrize(("jobs", "noise"), [(2, 0.01), (8, 0.01), (8, 0.015)])
def test_a_lead_of_one_seventh_is_always_found_on_a_quiet_machine(jobs, noise):
    assert winners(jobs, noise, 0.15) == [0] * SWEEPS


@pytest.mark.parametrize("noise", [0.03, 0.1])
def test_a_small_lead_in_much_noise_is_a_tie_or_the_right_winner(noise):
    found = winners(8, noise, 0.05, drift=0.003, bursts=0.1)
    assert set(found) <= {0, -1}
    assert -1 in found


def test_what_slows_a_whole_round_takes_no_part():
    runs = np.array([[3.0, 2.5, 3.01], [3.15, 2.66, 3.16]])
    found = compare(runs, np.full(runs.shape, 0.005), [0.0, 0.0])
    assert (found.best, found.tied) == (1, (1,))
    assert found.lead is not None
    assert found.lead.rate == pytest.approx(math.expm1(0.15), abs=0.01)
    assert found.noise < 0.02


def test_a_lead_below_what_can_be_seen_is_a_tie_however_exact():
    runs = np.repeat([[3.0], [3.0 + math.log1p(NOISE) - 0.001]], 50, axis=1)
    assert compare(runs, np.zeros(runs.shape), [0.0, 0.0]).tied == (1, 0)


def test_runs_that_differ_much_within_themselves_have_wide_intervals():
    runs = np.array([[3.0] * 3, [3.1] * 3])
    exact, vague = (compare(runs, np.full(runs.shape, error), [0.0, 0.0]) for error in (0.001, 0.1))
    assert exact.tied == (1,)
    assert vague.tied == (1, 0)
    assert vague.estimates[0].high > 1.05 * exact.estimates[0].high


def test_others_load_widens_the_interval_upwards_and_makes_a_tie():
    runs = np.array([[3.0] * 3, [3.3] * 3])
    quiet = np.full(runs.shape, 0.005)
    idle, busy, unknown = (compare(runs, quiet, [share, share]) for share in (0.0, 0.4, 0.95))
    assert idle.tied == (1,)
    assert busy.tied == (1, 0)
    assert busy.estimates[0].low == idle.estimates[0].low
    assert busy.estimates[0].high == pytest.approx(idle.estimates[0].high / 0.6)
    assert unknown.estimates[0].high == math.inf


def test_a_lead_that_no_load_explains_wins_on_a_busy_machine_too():
    runs = np.array([[2.0] * 3, [3.3] * 3])
    assert compare(runs, np.full(runs.shape, 0.005), [0.4, 0.4]).tied == (1,)


def test_a_missing_run_and_a_single_round():
    runs = np.array([[3.0, 3.01, np.nan], [3.3, 3.31, 3.3]])
    assert compare(runs, np.where(np.isnan(runs), np.nan, 0.005), [0.0, 0.0]).tied == (1,)
    once = compare(np.array([[3.0], [3.05]]), np.full((2, 1), 0.005), [0.0, 0.0])
    assert once.tied == (1, 0)
    assert compare(np.array([[3.0]]), np.zeros((1, 1)), [0.0]).tied == (0,)


def test_the_same_runs_give_the_same_intervals():
    runs = next(iter(sweeps(4, 0.02, 0.1)))
    one, other = (compare(runs, np.full(runs.shape, 0.005), [0.0] * 4) for _ in range(2))
    assert one == other


def test_median_polish_takes_rows_and_columns_out_of_a_sum_of_both():
    rows, columns = np.array([1.0, 5.0, 2.0]), np.array([-0.5, 0.0, 3.0])
    found, left = median_polish(rows[:, None] + columns[None, :])
    assert found == pytest.approx(rows)
    assert left == pytest.approx(np.zeros((3, 3)))
