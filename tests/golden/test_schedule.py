"""The flow-matching schedule: time and σ of every step for four shifts, and what is made of them."""

import pytest
import torch

from tests.golden.loading import CONTROL, LIMIT, FlowSchedule, Golden, errors

FILE = Golden("schedule")
SHIFTS = FILE.config["shifts"]
EXAMPLE = FILE.config["example"]
SIGMA_LIMIT = 1e-6
"""Absolute: what float32 keeps of a number up to 1."""


def stepped(schedule, nominal):
    """Times and σ of these steps."""
    steps = [schedule.step(float(number)) for number in nominal]
    return torch.tensor([[step.timestep, step.sigma] for step in steps], dtype=torch.float64).T


def expected(shift, name):
    return FILE[f"expected/shift_{shift:g}/{name}"].double()


def largest_difference(one, other):
    return float((one - other).abs().max())


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("kind", ["raw", "warped"])
def test_time_and_sigma_of_every_step_are_upstreams(shift, kind):
    time, sigma = stepped(FlowSchedule(shift, warp=kind == "warped"), range(1001))
    assert largest_difference(time, expected(shift, f"{kind}_time")) < 1000 * SIGMA_LIMIT
    assert largest_difference(sigma, expected(shift, f"{kind}_sigma")) < SIGMA_LIMIT


@pytest.mark.parametrize("shift", SHIFTS)
def test_every_entry_of_the_table_is_found_at_its_time(shift):
    _, sigma = stepped(FlowSchedule(shift), expected(shift, "table_time"))
    assert largest_difference(sigma, expected(shift, "table_sigma")) < SIGMA_LIMIT


def test_krea_lists_are_upstreams():
    for name, shift in FILE.config["lists"].items():
        wanted = FILE[f"expected/lists/{name}"]
        nominal = torch.linspace(1000, 0, len(wanted)).long().tolist()
        times = torch.tensor([step.timestep for step in FlowSchedule(shift, warp=True).steps(nominal)])
        assert errors([times], [wanted])[0] < LIMIT


def noised_and_cleaned(offset=0):
    """Both directions, with the σ of the example's times. offset: added to the times."""
    schedule = FlowSchedule(EXAMPLE["shift"])
    _, sigma = stepped(schedule, [max(0.0, time + offset) for time in EXAMPLE["times"]])
    sigma = sigma.view(-1, 1, 1, 1)
    noisy = (1 - sigma) * FILE["inputs/clean"] + sigma * FILE["inputs/noise"]
    return noisy, FILE["expected/noisy"] - sigma * FILE["inputs/flow"]


def test_noise_is_added_and_flow_taken_off_as_upstream_does():
    noisy, clean = noised_and_cleaned()
    assert max(errors(noisy, FILE["expected/noisy"])) < LIMIT
    assert max(errors(clean, FILE["expected/clean_from_flow"])) < LIMIT


@pytest.mark.parametrize("shift", SHIFTS)
def test_another_shift_shows(shift):
    _, sigma = stepped(FlowSchedule(shift + 0.1, warp=True), range(1001))
    assert errors([sigma], [expected(shift, "warped_sigma")])[0] > CONTROL


def test_other_times_show():
    noisy, clean = noised_and_cleaned(offset=-30)
    assert max(errors(noisy, FILE["expected/noisy"])) > CONTROL
    assert max(errors(clean, FILE["expected/clean_from_flow"])) > CONTROL
