"""Noise levels: known look-ups in the tables with shift 5 and 8, raw and warped, and lists that can't be denoised."""

import pytest

from pp1_orchestrator.models.wan.schedule import FlowSchedule


def table_entry(shift: float, index: int) -> float:
    u = 1 - index / 1000
    return shift * u / (1 + (shift - 1) * u)


@pytest.mark.parametrize(
    ("shift", "nominal", "time", "index"),
    [
        (5.0, 937, 936.874, 252),
        (5.0, 833, 832.777, 501),
        (5.0, 625, 625.0, 750),
        (5.0, 600, 600.312, 769),
        (5.0, 750, 750.0, 625),
        (5.0, 500, 500.6, 833),
        (5.0, 250, 251.6, 937),
        (8.0, 750, 750.258, 727),
        (8.0, 250, 250.0, 960),
        (8.0, 700, 700.232, 774),
        (8.0, 400, 400.260, 923),
    ],
)
def test_a_raw_step_takes_the_nearest_entry(shift, nominal, time, index):
    step = FlowSchedule(shift).step(nominal)
    assert step.timestep == nominal  # the model is told the step as it is
    assert step.sigma == pytest.approx(table_entry(shift, index), abs=1e-12)
    digits = len(f"{time}".partition(".")[2])
    assert round(1000 * step.sigma, digits) == time


@pytest.mark.parametrize(
    ("shift", "nominal", "time"),
    [
        (5.0, 1000, 1000.0),
        (5.0, 750, 937.5),
        (5.0, 500, 833.3333),
        (5.0, 250, 625.0),
        (8.0, 1000, 1000.0),
        (8.0, 750, 960.0),
        (8.0, 500, 888.8889),
        (8.0, 250, 727.2727),
    ],
)
def test_a_warped_step_is_its_shifted_time(shift, nominal, time):
    step = FlowSchedule(shift, warp=True).step(nominal)
    assert step.timestep == pytest.approx(time, abs=1e-4)
    assert step.sigma == pytest.approx(table_entry(shift, 1000 - nominal), abs=1e-12)


@pytest.mark.parametrize("warp", [False, True])
def test_without_a_shift_a_step_is_its_own_level(warp):
    steps = FlowSchedule(1.0, warp).steps((1000, 750, 500, 250))
    assert [step.timestep for step in steps] == pytest.approx([1000, 750, 500, 250])
    assert [step.sigma for step in steps] == pytest.approx([1.0, 0.75, 0.5, 0.25])


@pytest.mark.parametrize(
    "steps",
    [(690, 750), (510, 750), (750, 750), (1000, 500, 750), (1000, 999.999), ()],
    ids=["rises", "rises far", "stays", "rises at last", "same entry", "empty"],
)
@pytest.mark.parametrize("schedule", [FlowSchedule(5.0), FlowSchedule(5.0, warp=True), FlowSchedule()])
def test_steps_that_do_not_fall_are_refused(schedule, steps):
    with pytest.raises(ValueError, match="must fall from step to step") as refusal:
        schedule.steps(steps)
    assert str(list(steps)) in str(refusal.value)


@pytest.mark.parametrize("steps", [(2000, 500), (1000, -1), (float("nan"),), (float("inf"), 500)])
def test_steps_are_times_of_the_schedule(steps):
    """A shift of a half would divide by zero at 2000."""
    with pytest.raises(ValueError, match="must be times from 1000 to 0"):
        FlowSchedule(0.5, warp=True).steps(steps)
