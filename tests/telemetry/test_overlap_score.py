"""OverlapScore: the published golden cases, and what must hold for any times."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pp1_orchestrator.telemetry.overlap_score import hidden_ratio, hidden_s, overlap_score

SECONDS = st.floats(0.001, 30.0)
GOLDEN = [
    ((0.185, 0.805, 0.990), 0.0),
    ((0.185, 0.805, 0.805), 1.0),
    ((0.185, 0.805, 0.875), 0.622),
    ((0.2, 0.2, 0.3), 0.5),
]


@pytest.mark.parametrize(("times", "score"), GOLDEN)
def test_golden_cases(times, score):
    assert overlap_score([times] * 20) == pytest.approx(score, abs=5e-4)


def test_no_score_without_a_chunk():
    assert overlap_score([]) is None


def test_one_slow_chunk_does_not_move_the_median():
    assert overlap_score([(0.2, 0.2, period) for period in (0.3, 0.3, 9.0, 0.3, 0.3)]) == pytest.approx(0.5)


@given(SECONDS, SECONDS)
def test_one_after_the_other_hides_nothing(stage0, mesh):
    assert hidden_s(stage0, mesh, stage0 + mesh) == 0.0


@given(SECONDS, SECONDS)
def test_a_period_of_the_longer_stage_hides_all_of_the_shorter(stage0, mesh):
    assert hidden_ratio(stage0, mesh, max(stage0, mesh)) == pytest.approx(1.0, rel=1e-6, abs=1e-9)


@given(SECONDS, SECONDS, SECONDS)
def test_the_ratio_is_never_negative_and_does_not_depend_on_which_stage_is_which(stage0, mesh, period):
    ratio = hidden_ratio(stage0, mesh, period)
    assert ratio >= 0.0
    assert ratio == pytest.approx(hidden_ratio(mesh, stage0, period))


@given(SECONDS, SECONDS, SECONDS, st.floats(0.001, 1.0))
def test_a_longer_period_never_raises_the_ratio(stage0, mesh, period, more):
    assert hidden_ratio(stage0, mesh, period + more) <= hidden_ratio(stage0, mesh, period)


@given(st.lists(st.tuples(SECONDS, SECONDS, SECONDS), min_size=1, max_size=30))
def test_the_score_is_a_share_and_lies_among_the_ratios_of_the_chunks(times):
    score, ratios = overlap_score(times), [hidden_ratio(*chunk) for chunk in times]
    assert score is not None
    assert min(1.0, *ratios) <= score <= min(1.0, max(ratios))


def test_each_chunk_is_cut_to_a_share_before_the_median():
    """One of the two hides nothing, the other 2.5 times the shorter stage."""
    assert overlap_score([(0.2, 0.2, 0.4), (0.9, 0.2, 0.6)]) == pytest.approx(0.5)
