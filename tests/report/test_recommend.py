"""The rule of the recommendation: the fastest, or the best of those that can't be told from it."""

import math

import pytest

from pp1_orchestrator.report.comparison import NOISE, Estimate
from pp1_orchestrator.report.recommend import Candidate, caution, ranked, reason

LEAD = Estimate(0.5, 0.4, 0.6)


def candidate(
    number: int,
    fps: float,
    latency_ms: float | None = 500.0,
    memory_bytes: int = 10_000_000,
    as_trained: bool = True,
    tied: bool = True,
) -> Candidate:
    return Candidate(
        number=number,
        label=f"job{number}",
        fps=Estimate(fps, fps - 1, fps + 1),
        tied=tied,
        latency_ms=latency_ms,
        memory_bytes=memory_bytes,
        as_trained=as_trained,
    )


def numbers(*candidates: Candidate) -> list[int]:
    return [c.number for c in ranked(candidates)]


def test_a_job_that_is_not_tied_with_the_fastest_has_no_part():
    assert numbers(candidate(0, 20.0, 100.0, 1, tied=False), candidate(1, 30.0, 900.0, 99)) == [1]


@pytest.mark.parametrize(("slower", "first"), [(30.0 * (1 - NOISE) + 0.01, 1), (30.0 * (1 - NOISE) - 0.01, 0)])
def test_of_tied_jobs_only_those_that_measured_alike_are_told_apart_by_latency(slower, first):
    assert numbers(candidate(0, 30.0, 500.0), candidate(1, slower, 400.0)) == [first, 1 - first]


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
        reason([], None)


def test_the_reason_for_a_clear_lead_has_rates_lead_and_their_intervals():
    slower = candidate(0, 20.0, tied=False), candidate(2, 10.0, tied=False)
    text = reason([slower[0], candidate(1, 30.0), slower[1]], LEAD)
    assert text == (
        "The fastest: 30.0 FPS (29.0 to 31.0), 50 % more (40 to 60) than the next, job0 with 20.0 (19.0 to 21.0)."
    )


def test_an_interval_without_an_upper_end_says_what_is_sure():
    open_ended = Candidate(
        number=0, label="a", fps=Estimate(20.0, 18.0, math.inf), tied=True, latency_ms=None, memory_bytes=1
    )
    assert reason([open_ended], None) == "The only job with a frame rate: 20.0 FPS (at least 18.0)."


def test_the_reason_for_a_tie_names_what_decided_it():
    slow = candidate(2, 10.0, 1.0, tied=False)
    by_latency = reason([candidate(0, 30.0, 512.3), candidate(1, 29.9, 400.0), slow], LEAD)
    assert by_latency.startswith("A tie: 2 jobs, with 29.9 to 30.0 FPS, differ by less than can be told apart")
    assert by_latency.endswith("the lowest prompt latency: 400.0 ms (next: job0, 512.3 ms).")
    by_memory = reason([candidate(0, 30.0, 500.0, 9_000_000), candidate(1, 29.9, 500.0, 1_500_000)], None)
    assert by_memory.endswith("the least memory at the same prompt latency: 1.5 MB (next: job0, 9.0 MB).")
    by_rate = reason([candidate(0, 30.0, 500.0), candidate(1, 20.0, 100.0)], None)
    assert by_rate.endswith("this one measured fastest: 30.0 FPS (next: job1, 20.0).")
    unknown = reason([candidate(0, 30.0, None), candidate(1, 29.9, 7.0)], None)
    assert unknown.endswith("7.0 ms (next: job0, none was measured).")
    alike = reason([candidate(0, 30.0), candidate(1, 30.0)], None)
    assert alike.endswith("prompt latency and memory are the same.")


def test_a_tie_goes_to_the_context_that_the_model_was_trained_for():
    tied = candidate(0, 30.0, 100.0, as_trained=False), candidate(1, 29.9, 900.0)
    assert numbers(*tied) == [1, 0]
    trained = "the only one with the context and cache that the model was trained for (next: job0)"
    assert trained in reason(tied, None)
    assert caution(tied) is None


def test_another_context_that_is_clearly_faster_wins_with_a_caution():
    slower = candidate(1, 20.0, tied=False), candidate(2, 19.9, 100.0, tied=False)
    jobs = candidate(0, 30.0, as_trained=False), *slower
    assert numbers(*jobs) == [0]
    says = caution(jobs)
    assert says is not None
    assert says.startswith("Its context or cache is not the one that the model was trained for")
    assert says.endswith("The best with that one: job1, 20.0 FPS.")
    alone = "Its context or cache is not the one that the model was trained for: look at its stream.mp4 first."
    assert caution(jobs[:1]) == alone
