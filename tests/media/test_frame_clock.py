"""The frame clock, on made-up times: pace, bursts, lateness."""

import itertools

import pytest

from pp1_orchestrator.media.pacer import FrameClock


def shown(clock: FrameClock, wakes: list[float]) -> list[list[float]]:
    """For each moment at which the caller wakes: the due times of the frames that go out then."""
    out = []
    for now in wakes:
        due = []
        while (at := clock.due(now)) <= now:
            due.append(at)
            clock.advance()
        out.append(due)
    return out


def test_frames_are_one_period_apart():
    clock = FrameClock(10)
    assert shown(clock, [5.0, 5.05, 5.1, 5.2]) == [[5.0], [], [pytest.approx(5.1)], [pytest.approx(5.2)]]


@pytest.mark.parametrize("late_by", [0.11, 0.5, 60.0])
def test_however_late_at_most_two_frames_go_out_together_and_the_pace_goes_on(late_by):
    clock = FrameClock(10)
    shown(clock, [0.0])
    now = 0.1 + late_by
    burst, early, following = shown(clock, [now, now + 0.05, now + 0.1])
    assert len(burst) <= 2
    assert early == [] or len(burst) == 1
    assert len(burst) + len(early) + len(following) <= 3


def test_timestamps_grow_over_every_kind_of_lateness():
    clock = FrameClock(10)
    times = [at for due in shown(clock, [0.0, 0.1, 0.35, 0.36, 2.0, 2.05, 2.1]) for at in due]
    assert all(later > earlier for earlier, later in itertools.pairwise(times))


def test_after_a_gap_in_production_the_schedule_starts_at_once_and_without_a_burst():
    clock = FrameClock(10)
    shown(clock, [0.0])
    clock.resume(0.73)
    assert shown(clock, [0.73, 0.78, 0.83]) == [[0.73], [], [pytest.approx(0.83)]]


def test_a_chunk_that_comes_before_its_time_keeps_the_schedule():
    clock = FrameClock(10)
    shown(clock, [0.0])
    clock.resume(0.04)
    assert clock.due(0.04) == pytest.approx(0.1)
