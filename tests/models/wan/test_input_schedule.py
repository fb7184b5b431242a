"""Where a chunk starts that starts from an input: the numbers of Krea Realtime and of StreamDiffusionV2."""

import pytest
import torch

from pp1_orchestrator.models.wan.input_schedule import motion_level, motion_start, strength_start
from pp1_orchestrator.models.wan.sampler import initial_noise, noised
from pp1_orchestrator.models.wan.schedule import FlowSchedule

KREA_STEPS, KREA = (1000.0, 750.0, 500.0, 250.0, 0.0), FlowSchedule(shift=5.0, warp=True)
SD_STEPS, SD = (700.0, 500.0, 400.0, 200.0), FlowSchedule(shift=8.0, warp=False)


def krea_table() -> torch.Tensor:
    """Upstream's timesteps: 1000 of them with shift 5 and sigma_min 0, and a zero after the last."""
    sigmas = torch.linspace(1.0, 0.0, 1001, dtype=torch.float64)[:-1]
    return torch.cat([5 * sigmas / (1 + 4 * sigmas) * 1000, torch.zeros(1, dtype=torch.float64)])


@pytest.mark.parametrize("count", [2, 4, 5, 6])
@pytest.mark.parametrize("percent", [*range(5, 101, 5), 1, 33, 57, 99])
def test_strength_gives_kreas_steps(percent, count):
    """`timesteps[1000 - linspace(strength * 1000, 0, steps).long()]`."""
    indices = torch.linspace(percent / 100 * 1000, 0, count, dtype=torch.float32).long()
    upstream = krea_table()[1000 - indices.unique(sorted=True).flip(0)]
    steps = tuple(torch.linspace(1000, 0, count, dtype=torch.float64).tolist())
    start = strength_start(steps, percent / 100, KREA)
    if percent < 100:
        assert [KREA.step(step).timestep for step in start.steps] == pytest.approx(upstream.tolist(), abs=1e-9)
    assert start.noise_level == pytest.approx(float(upstream[0]) / 1000, abs=1e-12)


def test_kreas_own_list_is_that_of_strength_one():
    start = strength_start(KREA_STEPS, 1.0, KREA)
    assert start.steps == KREA_STEPS
    assert start.noise_level == 1.0
    found = [KREA.step(step).timestep for step in start.steps]
    assert found == pytest.approx([1000.0, 937.5, 833.3333333333334, 625.0, 0.0])


@pytest.mark.parametrize("strength", [0.0, 0.001, 0.002, 0.004])
def test_a_strength_near_zero_still_gives_a_schedule(strength):
    start = strength_start(KREA_STEPS, strength, KREA)
    assert KREA.steps(start.steps)
    assert start.noise_level < 0.03


def upstream_motion(pairs: list[tuple[float, float]], strength: float) -> list[tuple[float, int]]:
    """`compute_noise_scale_and_step` over chunks of (largest frame distance, unused)."""
    found, level = [(strength, int(1000 * strength) - 100)], strength
    for distance, _ in pairs:
        motion = min(max(distance / 0.2, 0), 1)
        level = (strength - 0.1 * motion) * 0.9 + level * 0.1
        found.append((level, int(1000 * level) - 100))
    return found


@pytest.mark.parametrize("strength", [0.7, 0.8, 0.9])
def test_motion_gives_the_levels_and_first_steps_of_streamdiffusion_v2(strength):
    distances = [0.0, 0.05, 0.2, 0.9, 0.01, 0.1]
    upstream, level = upstream_motion([(d, 0.0) for d in distances], strength), strength
    found = [motion_start(SD_STEPS, level, SD)]
    for distance in distances:
        level = motion_level(strength, distance, level)
        found.append(motion_start(SD_STEPS, level, SD))
    assert [(start.noise_level, start.steps[0]) for start in found] == upstream
    for start in found:
        assert start.steps[1:] == tuple(step for step in SD_STEPS[1:] if step < start.steps[0])


def test_its_default_is_the_models_own_list():
    assert motion_start(SD_STEPS, 0.8, SD).steps == SD_STEPS


@pytest.mark.parametrize(("distance", "level"), [(0.0, 0.8), (0.1, 0.755), (0.2, 0.71), (5.0, 0.71)])
def test_motion_by_hand(distance, level):
    assert motion_level(0.8, distance, 0.8) == pytest.approx(level)


def test_a_warped_schedule_gets_the_same_time():
    """The first step is a time upstream; a warped schedule's nominal step stands for another time."""
    start = motion_start(KREA_STEPS, 0.8, KREA)
    assert KREA.step(start.steps[0]).timestep == pytest.approx(700)
    assert all(step < start.steps[0] for step in start.steps[1:])


def test_noise_mixes_linearly_and_level_one_is_the_noise_itself():
    latents, noise = torch.randn(1, 3, 16, 8, 8), initial_noise(42, 0, (1, 3, 16, 8, 8))
    assert torch.equal(noised(latents, noise, 1.0), noise)
    assert torch.equal(noised(latents, noise, 0.0), latents)
    torch.testing.assert_close(noised(latents, noise, 0.3), 0.7 * latents + 0.3 * noise)
