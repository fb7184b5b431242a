"""The ranking rule: the fastest, where a lead within the noise is none."""

import pytest

from pp1_orchestrator.report.recommend import NOISE, Candidate, caution, ranked, reason


def candidate(
    number: int, fps: float, latency_ms: float | None = 500.0, memory_bytes: int = 10_000_000, as_trained: bool = True
) -> Candidate:
    return Candidate(
        number=number,
        label=f"job{number}",
        fps=fps,
        latency_ms=latency_ms,
        memory_bytes=memory_bytes,
        as_trained=as_trained,
    )


def numbers(*candidates: Candidate) -> list[int]:
    return [c.number for c in ranked(candidates)]


def test_the_fastest_wins_whatever_else_it_costs():
    assert numbers(candidate(0, 20.0, 100.0, 1), candidate(1, 30.0, 900.0, 99)) == [1]


@pytest.mark.parametrize(("slower", "tied"), [(30.0 * (1 - NOISE) + 0.01, True), (30.0 * (1 - NOISE) - 0.01, False)])
def test_jobs_within_the_noise_of_the_fastest_are_tied_with_it(slower, tied):
    assert numbers(candidate(0, 30.0, 500.0), candidate(1, slower, 400.0)) == ([1, 0] if tied else [0])


def test_ties_are_counted_from_the_fastest_not_from_job_to_job():
    assert 2 not in numbers(candidate(0, 30.0), candidate(1, 29.3), candidate(2, 28.6))


def test_a_tie_goes_to_the_lower_prompt_latency_whatever_the_memory():
    assert numbers(candidate(0, 30.0, 500.0, 1), candidate(1, 29.9, 400.0, 9)) == [1, 0]


def test_a_tie_in_latency_too_goes_to_the_smaller_memory():
    assert numbers(candidate(0, 30.0, 500.0, 9), candidate(1, 29.9, 500.0, 1)) == [1, 0]


def test_a_known_latency_is_better_than_none():
    assert numbers(candidate(0, 30.0, None, 1), candidate(1, 29.9, 5000.0, 9)) == [1, 0]


def test_jobs_alike_in_everything_stay_in_their_order():
    assert numbers(candidate(1, 30.0), candidate(0, 30.0)) == [0, 1]


def test_nothing_measured_is_no_ranking():
    assert ranked([]) == []
    with pytest.raises(ValueError, match="nothing was measured"):
        reason([])


def test_the_reason_for_a_clear_lead_has_both_rates_and_the_lead():
    text = reason([candidate(0, 20.0), candidate(1, 30.0), candidate(2, 10.0)])
    assert text == "The fastest: 30.0 FPS, 50 % more than the next, job0 with 20.0."


def test_the_reason_for_a_single_job():
    assert reason([candidate(0, 20.0)]) == "The only job with a frame rate: 20.0 FPS."


def test_the_reason_for_a_tie_names_what_decided_it():
    by_latency = reason([candidate(0, 30.0, 512.3), candidate(1, 29.9, 400.0), candidate(2, 10.0, 1.0)])
    assert by_latency.startswith("2 jobs are tied at 29.9 to 30.0 FPS (within 3 % of the fastest")
    assert by_latency.endswith("the lowest prompt latency: 400.0 ms (next: job0, 512.3 ms).")
    by_memory = reason([candidate(0, 30.0, 500.0, 9_000_000), candidate(1, 29.9, 500.0, 1_500_000)])
    assert by_memory.endswith("the least memory at the same prompt latency: 1.5 MB (next: job0, 9.0 MB).")
    assert reason([candidate(0, 30.0, None), candidate(1, 29.9, 7.0)]).endswith(
        "7.0 ms (next: job0, none was measured)."
    )
    assert reason([candidate(0, 30.0), candidate(1, 30.0)]).endswith("prompt latency and memory are the same.")


def test_a_tie_goes_to_the_context_that_the_model_was_trained_for():
    tied = candidate(0, 30.0, 100.0, as_trained=False), candidate(1, 29.9, 900.0)
    assert numbers(*tied) == [1, 0]
    assert "the only one with the context and cache that the model was trained for (next: job0)" in reason(tied)
    assert caution(tied) is None


def test_another_context_that_is_clearly_faster_wins_with_a_caution():
    jobs = candidate(0, 30.0, as_trained=False), candidate(1, 20.0), candidate(2, 19.9, 100.0)
    assert numbers(*jobs) == [0]
    says = caution(jobs)
    assert says is not None
    assert says.startswith("Its context or cache is not the one that the model was trained for")
    assert says.endswith("The best with that one: job2, 19.9 FPS.")
    alone = "Its context or cache is not the one that the model was trained for: look at its stream.mp4 first."
    assert caution(jobs[:1]) == alone
