"""Video to video in training: what an input becomes, what a chunk starts from, and the figures of the evaluation."""

import random
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pp1_orchestrator.models.vae.base import EncodeState
from training import world
from training.captions import MOTION_WORDS, random_caption
from training.clip_pool import ClipBatch
from training.judge import Judge
from training.latent_space import LatentSpace
from training.losses import teacher_forcing_loss
from training.model import CHUNK_FRAMES, LATENT_SHAPE, TinyModel
from training.scene_scripts import random_scene
from training.streaming import BatchStream, Start, strength_levels
from training.teacher_forcing import ClipGenerator
from training.tokenizer import TEXT_LENGTH, build_tokenizer
from training.video_figures import at_borders, changes, follow, jumps, place_error, velocity_correlation
from training.video_scripts import make_video_scripts, other_prompt, random_strengths, source_attributes
from training.world import DEFAULT_SCENE, MOTIONS, SHAPES, Attribute

CPU = torch.device("cpu")
STREAMS, FRAMES = 4, 33


def poses_of(shapes: list[str], angles: list[float]) -> world.Poses:
    """One frame of medium objects in the centre, each of a shape and at an angle."""
    attributes = torch.zeros(len(shapes), 1, len(Attribute), dtype=torch.long)
    attributes[:, 0, Attribute.SHAPE] = torch.tensor([SHAPES.index(shape) for shape in shapes])
    count = len(shapes)
    centre, radius = torch.full((count, 1, 2), 64.0), torch.full((count, 1), 28.0)
    return world.Poses(centre, torch.tensor(angles)[:, None], radius, attributes)


def test_objects_that_look_alike_become_objects_that_look_alike() -> None:
    quarter = torch.pi / 2
    squares = poses_of(["square"] * 3, [0.3, 0.3 + quarter, 0.3 + 3 * quarter])
    stars = poses_of(["star"] * 3, [0.0] * 3).attributes
    _, cover = world.draw_clip(squares.with_attributes(stars))
    torch.testing.assert_close(cover[1:], cover[:1].expand(2, -1, -1, -1, -1), atol=2e-3, rtol=0)
    _, upright = world.draw_clip(poses_of(["star"], [0.0]))
    assert (cover[:1] - upright).abs().sum() > 100  # it is turned


@pytest.mark.parametrize(("shape", "angle"), [("square", 0.4), ("cross", 0.4), ("circle", 0.0)])
def test_a_square_turns_as_a_square_and_a_circle_stands_upright(shape: str, angle: float) -> None:
    became = poses_of([shape], [0.4]).with_attributes(poses_of(["square"], [0.0]).attributes)
    assert became.angle.item() == pytest.approx(angle)


def test_a_caption_without_motion_has_no_word_for_it() -> None:
    rng = random.Random(0)
    words = {phrase for phrases in MOTION_WORDS.values() for phrase in phrases}
    for _ in range(300):
        text, meant = random_caption(random_scene(rng), rng, keep_meaning=rng.random() < 0.5, with_motion=False)
        assert not [phrase for phrase in words if f" {phrase} " in f" {text.lower()} "]
        assert (meant.motion, meant.speed) == (DEFAULT_SCENE.motion, DEFAULT_SCENE.speed)


@pytest.mark.parametrize("words", ["matching", "contradicting", "absent"])
def test_prompts_of_evaluations_differ_from_the_input(words: str) -> None:
    rng = random.Random(0)
    for _ in range(50):
        source = random_scene(rng)
        _, wanted = other_prompt(source, words, [source], rng)
        assert source.color != wanted.color
        assert source.shape != wanted.shape
        assert source.background != wanted.background
        assert words == "absent" or (wanted.motion == source.motion) == (words == "matching")


def test_scripts_ask_for_the_size_of_the_input_and_change_its_motion_once() -> None:
    scripts = make_video_scripts(40, 4, build_tokenizer(), random.Random(0))
    sizes = scripts.source[..., Attribute.SIZE]
    assert torch.equal(scripts.captions.attributes[..., Attribute.SIZE], sizes)
    torch.manual_seed(0)
    shown = source_attributes(scripts.source, FRAMES)
    motion = shown[..., [Attribute.MOTION, Attribute.SPEED]]
    steps = (motion[:, 1:] != motion[:, :-1]).any(-1).sum(1)
    assert set(steps.tolist()) == {0, 1}
    others = [name for name in Attribute if name not in (Attribute.MOTION, Attribute.SPEED)]
    assert (shown[..., others] == shown[:, :1, others]).all()


def test_strengths_are_within_their_range() -> None:
    torch.manual_seed(0)
    drawn = random_strengths(torch.zeros(5000))
    assert 0.4 <= drawn.min() < 0.41
    assert 0.94 < drawn.max() <= 0.95
    assert ((drawn > 0.65) & (drawn < 0.85)).float().mean() > 0.7
    assert (drawn == 0.75).float().mean() == pytest.approx(0.25, abs=0.03)


@pytest.fixture(scope="module")
def model() -> TinyModel:
    torch.manual_seed(0)
    made = TinyModel().eval().requires_grad_(False)
    torch.nn.init.normal_(made.generator.head.head.weight, std=0.02)
    return made


def denoise(model: TinyModel, start: Start | None) -> list[Tensor]:
    torch.manual_seed(1)
    text = model.generator.embed_text(torch.randn(2, TEXT_LENGTH, 96))
    torch.manual_seed(2)
    return BatchStream(model.generator).denoise(text, 2, CPU, start)


def test_strength_1_is_text_alone_bit_for_bit(model: TinyModel) -> None:
    source = torch.randn(2, CHUNK_FRAMES, *LATENT_SHAPE)
    started = denoise(model, Start(source, strength_levels(torch.ones(2))))
    for alone, one in zip(denoise(model, None), started, strict=True):
        assert torch.equal(alone, one)


def test_a_chunk_starts_from_input_and_noise_at_its_stream_s_strength() -> None:
    """With a head of zeros there is no flow, so the first estimate is what the chunk starts from."""
    torch.manual_seed(0)
    still = TinyModel().eval().requires_grad_(False)
    source, strength = torch.randn(2, CHUNK_FRAMES, *LATENT_SHAPE), torch.tensor([0.7, 0.4])
    levels = strength_levels(strength)
    torch.testing.assert_close(levels, torch.tensor([[0.7, 0.525, 0.35, 0.175], [0.4, 0.3, 0.2, 0.1]]))
    first = denoise(still, Start(source, levels))[0]
    torch.manual_seed(2)
    noise = torch.randn(source.shape)
    for row, share in enumerate((0.7, 0.4)):
        torch.testing.assert_close(first[row], (1 - share) * source[row] + share * noise[row])


@pytest.mark.parametrize("video", [0.0, 1.0])
def test_the_flow_to_learn_leads_from_the_noised_input_to_the_truth(video: float) -> None:
    """Without a flow the error is the square of the flow to learn, here the noise and a share of the constant input."""
    torch.manual_seed(0)
    still, offset, count, chunks = TinyModel().eval(), 0.5, 3, 4
    clean = torch.zeros(count, chunks * CHUNK_FRAMES, *LATENT_SHAPE)
    batch = ClipBatch(
        clean,
        torch.ones(count, 2, TEXT_LENGTH, dtype=torch.long),
        torch.zeros(count, chunks, dtype=torch.long),
        torch.ones(count, chunks),
        clean + offset,
        torch.full((count, 1), video),
    )
    with torch.no_grad():
        _, report = teacher_forcing_loss(still, ClipGenerator(still.generator), batch)
    level = report.level
    wanted = 1 + ((1 - level) * offset / level).square()
    if video:
        assert level.min() >= 0.4
        assert level.max() <= 0.95
        wanted = wanted * (2 * level).square().clamp(max=1)
    torch.testing.assert_close(report.error, wanted, rtol=0.06, atol=0)


def test_the_streaming_encoder_agrees_with_training_s() -> None:
    torch.manual_seed(0)
    space = LatentSpace(CPU, compiled=False)
    clip = torch.rand(21, 3, 32, 32) * 2 - 1
    encoder, state = space.streaming_encoder(), EncodeState()
    parts = [encoder.encode(part, state) for part in clip.split([9, 12])]
    torch.testing.assert_close(torch.cat(parts), space.encode(clip[None])[0], rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def followed() -> tuple[world.Poses, Tensor]:
    """Poses of an input, and frames that follow it perfectly."""
    torch.manual_seed(3)
    rng = random.Random(3)
    scenes = [replace(random_scene(rng), motion=MOTIONS[2 * index]) for index in range(STREAMS)]
    shown = torch.tensor([scene.ids() for scene in scenes])[:, None].expand(-1, FRAMES, -1)
    poses = world.simulate(world.random_state(STREAMS, CPU), shown)
    wanted = [other_prompt(scene, "absent", [scene], rng)[1].ids() for scene in scenes]
    per_frame = torch.tensor(wanted)[:, None].expand(-1, FRAMES, -1)
    return poses, world.draw_clip(poses.with_attributes(per_frame))[0]


def test_figures_of_frames_that_follow_the_input(followed: tuple[world.Poses, Tensor]) -> None:
    poses, frames = followed
    seen = follow(Judge.load(), frames, poses)
    assert place_error(seen, poses).mean() < 0.3
    assert velocity_correlation(seen, poses) > 0.99
    assert jumps(seen, poses).mean() < 0.3
    assert not seen.stray.any()


def test_figures_of_frames_that_do_not(followed: tuple[world.Poses, Tensor]) -> None:
    poses, frames = followed
    judge = Judge.load()
    aside = follow(judge, frames.roll(30, -1), poses)
    assert place_error(aside, poses).mean() == pytest.approx(30, abs=0.5)
    assert not aside.stray.any()  # one object, out of place
    others = frames.roll((55, 55), (-1, -2))
    both = torch.where(
        (frames - frames.flatten(3).median(-1).values[..., None, None]).abs().sum(2, True) > 0.2, frames, others
    )
    assert follow(judge, both, poses).stray.float().mean() > 0.9
    late = frames.clone()
    late[:, 10:] = frames[:, 10:].roll(6, -2)  # a step between frames 9 and 10
    step = jumps(follow(judge, late, poses), poses)
    assert step[:, 9].mean() == pytest.approx(6, abs=0.5)
    assert step[:, :9].mean() < 0.3
    assert velocity_correlation(seen=follow(judge, frames.flip(1), poses), poses=poses) < 0.2


def test_borders_are_told_from_the_inside_of_chunks() -> None:
    values = torch.arange(1.0, 33.0)[None]  # of frames 1 … 32 to the one before
    across, inside = at_borders(values, [9, 21], switch=21)
    assert across.tolist() == [[9.0]]
    assert inside.tolist() == [[float(frame) for frame in range(1, 33) if frame not in (9, 21)]]
    frames = torch.zeros(1, 3, 3, 4, 4)
    frames[:, 2] = 1.0
    assert changes(frames).tolist() == [[0.0, 127.5]]
