"""Where a warm-up ends and how fast a run is after it, on made-up paces whose truth is known."""

import math

import numpy as np
import pytest

from pp1_orchestrator.report.steady_rate import FEWEST, steady_rate, warm_up
from tests.telemetry.factories import run

FRAMES = 12


def rate(periods):
    times = [0.01] * len(periods)
    return steady_rate(run(times, times, list(periods), FRAMES), np.random.default_rng(1))


@pytest.mark.parametrize("length", [0, 3, 8])
def test_a_warm_up_ends_where_the_pace_becomes_steady(length):
    random = np.random.default_rng(3)
    slow = np.exp(-np.arange(length) / 3)
    values = np.concatenate([0.5 + slow, np.full(30, 0.5)]) + random.normal(0, 0.005, length + 30)
    cut, settled = warm_up(values)
    assert length - 2 <= cut <= length + 6
    assert settled


def test_a_single_slow_chunk_is_no_warm_up():
    values = np.full(30, 0.5) + np.random.default_rng(5).normal(0, 0.005, 30)
    values[12] = 3.0
    assert warm_up(values) == (0, True)


def test_a_pace_that_changes_to_the_end_is_not_settled():
    assert not warm_up(np.linspace(1.0, 2.0, 40))[1]


def test_the_rate_is_that_of_the_chunks_after_the_warm_up():
    found = rate([0.9, 0.8, 0.6, 0.5, 0.42] + [0.4] * 30)
    assert found is not None
    assert math.exp(found.log_fps) == pytest.approx(FRAMES / 0.4, rel=1e-6)
    assert 4 <= found.warmup <= 7
    assert found.settled


def test_a_burst_of_other_work_moves_neither_rate_nor_warm_up():
    periods = [0.4] * 40
    periods[20:27] = [0.9] * 7
    found = rate(periods)
    assert found is not None
    assert math.exp(found.log_fps) == pytest.approx(FRAMES / 0.4, rel=0.01)


def test_periods_that_take_turns_count_with_their_mean():
    found = rate([0.2, 0.6] * 20)
    assert found is not None
    assert math.exp(found.log_fps) == pytest.approx(FRAMES / 0.4, rel=1e-6)


def test_the_error_covers_the_truth_and_shrinks_with_more_chunks():
    random = np.random.default_rng(11)
    missed, errors = 0, {20: [], 200: []}
    for chunks in errors:
        for _ in range(40):
            found = rate(0.4 * np.exp(random.normal(0, 0.1, chunks)))
            assert found is not None
            errors[chunks].append(found.error)
            truth = math.log(FRAMES / (0.4 * math.exp(0.005)))  # the mean of a log-normal pace
            missed += abs(found.log_fps - truth) > 3 * found.error
    assert np.mean(errors[200]) < 0.5 * np.mean(errors[20])
    assert missed <= 8


def test_too_few_chunks_have_no_rate():
    assert rate([0.4] * FEWEST) is None
    assert rate([0.4] * (FEWEST + 1)) is not None
    assert rate([]) is None
