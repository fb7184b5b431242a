"""The world: determinism, wrap-round, changes of scene; and the judge's opinion of drawn clips."""

import random

import pytest
import torch

from training import world
from training.judge import Judge
from training.scene_scripts import random_scene
from training.world import Attribute

FRAMES = 24


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge.load()


def scene_tensor(count: int, seed: int) -> torch.Tensor:
    rng = random.Random(seed)
    return torch.tensor([random_scene(rng).ids() for _ in range(count)])


def per_frame(attributes: torch.Tensor, frames: int = FRAMES) -> torch.Tensor:
    return attributes[:, None].expand(-1, frames, -1)


def test_first_chunk_is_shorter() -> None:
    assert world.chunk_of_frame(3) == [0] * 9 + [1] * 12 + [2] * 12


def test_simulation_can_be_continued() -> None:
    attributes = scene_tensor(16, 1)
    whole = world.simulate(world.canonical_state(16, "cpu"), per_frame(attributes))
    again = world.simulate(world.canonical_state(16, "cpu"), per_frame(attributes))
    assert torch.equal(whole.position, again.position)
    assert (whole.position >= 0).all()
    assert (whole.position < 128).all()


def test_an_object_appears_in_the_centre() -> None:
    attributes = scene_tensor(1, 2)
    attributes[:, Attribute.MOTION] = world.MOTIONS.index("still")
    before = attributes.clone()
    before[:, Attribute.SHAPE] = world.NO_SHAPE
    poses = world.simulate(world.random_state(1, "cpu"), per_frame(attributes, 2), before)
    assert poses.position[0, 0].tolist() == [64.0, 64.0]


def test_an_empty_scene_is_background_only(judge: Judge) -> None:
    attributes = scene_tensor(4, 3)
    attributes[:, Attribute.SHAPE] = world.NO_SHAPE
    frames, coverage = world.draw_clip(world.simulate(world.random_state(4, "cpu"), per_frame(attributes, 4)))
    assert coverage.max() == 0
    verdict = judge.measure((frames + 1) / 2)
    assert (verdict.shape == world.NO_SHAPE).all()
    assert (verdict.color == -1).all()
    assert torch.equal(verdict.background, attributes[:, Attribute.BACKGROUND])


def test_the_judge_reads_drawn_clips(judge: Judge) -> None:
    torch.manual_seed(0)
    attributes = scene_tensor(40, 4)
    state = world.random_state(40, "cpu")
    frames, _ = world.draw_clip(world.simulate(state, per_frame(attributes, 12)))
    as_bytes = ((frames + 1) * 127.5).round().to(torch.uint8)
    correct = judge.measure(as_bytes).correct(attributes)
    assert {name: values.float().mean().item() for name, values in correct.items()} == {
        "color": 1.0,
        "background": 1.0,
        "shape": 1.0,
        "motion": 1.0,
    }


def test_the_judge_notices_what_is_wrong(judge: Judge) -> None:
    attributes = scene_tensor(8, 5)
    frames, _ = world.draw_clip(world.simulate(world.canonical_state(8, "cpu"), per_frame(attributes, 12)))
    other = attributes.clone()
    other[:, Attribute.COLOR] = (other[:, Attribute.COLOR] + 1) % len(world.COLORS)
    other[:, Attribute.SHAPE] = (other[:, Attribute.SHAPE] + 1) % len(world.SHAPES)
    other[:, Attribute.BACKGROUND] = (other[:, Attribute.BACKGROUND] + 1) % len(world.BACKGROUNDS)
    correct = judge.measure((frames + 1) / 2).correct(other)
    assert not any(correct[name].any() for name in ("color", "shape", "background"))


def test_the_judge_refuses_another_layout(judge: Judge) -> None:
    with pytest.raises(ValueError, match=r"\[B, T, 3, H, W\]"):
        judge.measure(torch.zeros(12, 128, 128, 3))
