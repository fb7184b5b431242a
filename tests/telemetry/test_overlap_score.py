"""OverlapScore: the published golden cases, and what must hold for any times."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pp1_orchestrator.telemetry.overlap_score import hidden_ms_p50, hidden_ratio, hidden_s, overlap_score

SECONDS = st.floats(0.001, 30.0)
GOLDEN = [
    ((0.185, 0.805, 0.990), 0.0),
    ((0.185, 0.805, 0.805), 1.0),
    ((0.185, 0.805, 0.875), 0.622),
    ((0.2, 0.2, 0.3), 0.5),
]


@pytest.mark.parametrize(("times", "score"), GOLDEN)
def test_golden_cases(times, score):
    stage0, mesh, period = ([seconds] * 20 for seconds in times)
    assert overlap_score(stage0, mesh, period) == pytest.approx(score, abs=5e-4)


def test_the_first_ten_chunks_do_not_count():
    stage0, mesh = [0.2] * 13, [0.2] * 13
    assert overlap_score(stage0, mesh, [0.4] * 10 + [0.2] * 3) == pytest.approx(1.0)
    assert overlap_score(stage0, mesh, [0.2] * 10 + [0.4] * 3) == pytest.approx(0.0)


def test_no_score_without_a_chunk_after_the_warmup():
    times = [0.1] * 10
    assert overlap_score(times, times, times) is None
    assert hidden_ms_p50(times, times, times) is None


def test_one_slow_chunk_does_not_move_the_median():
    assert overlap_score([0.2] * 5, [0.2] * 5, [0.3, 0.3, 9.0, 0.3, 0.3], warmup=0) == pytest.approx(0.5)


def test_hidden_time_is_in_milliseconds():
    assert hidden_ms_p50([0.2], [0.2], [0.3], warmup=0) == pytest.approx(100.0)


def test_lists_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="zip"):
        overlap_score([0.1, 0.1], [0.1], [0.1, 0.1])


def test_a_negative_warmup_is_refused():
    with pytest.raises(ValueError, match="warmup=-1"):
        overlap_score([0.1], [0.1], [0.1], warmup=-1)


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


@given(st.lists(st.tuples(SECONDS, SECONDS, SECONDS), min_size=1, max_size=30), st.integers(0, 5))
def test_the_score_lies_among_the_ratios_of_the_chunks_that_count(times, warmup):
    score = overlap_score(*(list(column) for column in zip(*times, strict=True)), warmup=warmup)
    ratios = [hidden_ratio(*chunk) for chunk in times[warmup:]]
    assert (score is None) == (not ratios)
    if score is not None:
        assert min(ratios) <= score <= max(ratios)
