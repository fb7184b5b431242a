"""The expert reads a state from pixels well enough that the world goes on as it would have."""

import random

import pytest
import torch

from training import world
from training.expert import READ_FRAMES, Expert
from training.judge import Judge
from training.scene_scripts import random_scene
from training.world import Attribute

COUNT = 40
DEVICE = torch.device("cpu")


@pytest.mark.slow
def test_the_continuation_is_the_true_one() -> None:
    torch.manual_seed(0)
    rng = random.Random(0)
    attributes = torch.tensor([random_scene(rng).ids() for _ in range(COUNT)])
    state = world.random_state(COUNT, DEVICE)
    later = 4
    poses = world.simulate(state, attributes[:, None].expand(-1, READ_FRAMES + later, -1))
    frames, coverage = world.draw_clip(poses)
    expert = Expert(Judge.load(), DEVICE)
    guessed = expert.continue_from(frames[:, :READ_FRAMES], attributes, attributes[:, None].expand(-1, later, -1))
    _, guessed_coverage = world.draw_clip(guessed)
    true_coverage = coverage[:, READ_FRAMES:]
    wrong = (guessed_coverage - true_coverage).abs().sum((1, 2, 3, 4)) / true_coverage.sum((1, 2, 3, 4))
    assert wrong.median() < 0.03
    assert (wrong < 0.15).float().mean() >= 0.97


def test_a_lost_object_comes_back_in_the_centre() -> None:
    attributes = torch.tensor([random_scene(random.Random(1)).ids()])
    attributes[:, Attribute.MOTION] = world.MOTIONS.index("still")
    empty = attributes.clone()
    empty[:, Attribute.SHAPE] = world.NO_SHAPE
    frames, _ = world.draw_clip(
        world.simulate(world.random_state(1, DEVICE), empty[:, None].expand(-1, READ_FRAMES, -1))
    )
    poses = Expert(Judge.load(), DEVICE).continue_from(frames, attributes, attributes[:, None])
    assert poses.position[0, 0].tolist() == [64.0, 64.0]
