"""A generator that starts from latents, and one whose history is written under a text of its own."""

import pytest
import torch

from pp1_orchestrator.models.wan.input_schedule import strength_start
from pp1_orchestrator.models.wan.sampler import initial_noise, renoise_stream
from pp1_orchestrator.models.wan.schedule import FlowSchedule
from tests.models.wan.reference_wan import ReferenceWan, noise_levels
from tests.models.wan.small_model import (
    CONFIG,
    HEIGHT,
    WIDTH,
    make_generator,
    random_model,
    random_text,
    relative_error,
)

SEED, SHAPE, STEPS = 5, (1, 3, CONFIG.in_dim, HEIGHT, WIDTH), (1000.0, 750.0, 500.0, 250.0)


@pytest.fixture(scope="module")
def model():
    return random_model()


@pytest.mark.parametrize("strength", [0.3, 0.8])
def test_a_start_from_latents_is_that_of_a_plain_float64_model(model, strength):
    latents, noise, stream = initial_noise(7, 0, SHAPE), initial_noise(SEED, 0, SHAPE), renoise_stream(SEED, 0)
    start = strength_start(STEPS, strength, FlowSchedule())
    generator, reference = (
        make_generator(model, FlowSchedule(), 3, 9, 0),
        ReferenceWan(CONFIG, model.state_dict(), 9, 0),
    )
    generator.set_text(random_text(0))
    reference.set_text(random_text(0)[0])
    draws = [torch.randn(SHAPE, generator=stream)[0] for _ in start.steps[1:]]
    mixed = strength * noise[0].double() + (1 - strength) * latents[0].double()  # without a shift the level is that
    wanted = reference.chunk(mixed, noise_levels(start.steps, 1.0, False), 0, draws)
    found = generator.denoise(noise, start.steps, 0, SEED, start=(latents, start.noise_level))
    assert relative_error(found[0], wanted) < 1e-5
    assert generator.calls == len(STEPS)


def test_at_level_one_nothing_of_the_latents_is_left(model):
    results = []
    for start in (None, (torch.randn(SHAPE), 1.0)):
        generator = make_generator(model, FlowSchedule())
        generator.set_text(random_text(0))
        results.append(generator.denoise(initial_noise(SEED, 0, SHAPE), STEPS, 0, SEED, start=start))
    assert torch.equal(*results)


def after_history(model, captioned: bool):
    """A chunk after history that was written under another text."""
    generator, history = make_generator(model, FlowSchedule()), initial_noise(7, 0, SHAPE)
    if captioned:
        generator.set_caption(random_text(1))
        generator.set_text(random_text(0))
        with generator.captioned():
            generator.write_context(history, 0)
    else:
        generator.set_text(random_text(1))
        generator.write_context(history, 0)
        generator.set_text(random_text(0))
    return generator.denoise(initial_noise(SEED, 3, SHAPE), STEPS, 3, SEED)


def test_a_caption_is_the_text_of_the_passes_inside_and_of_no_other(model):
    assert torch.equal(after_history(model, captioned=True), after_history(model, captioned=False))


def test_without_a_caption_or_unwanted_the_text_stays(model):
    results = []
    for caption, wanted in ((None, True), (random_text(1), False)):
        generator = make_generator(model, FlowSchedule())
        generator.set_text(random_text(0))
        generator.set_caption(caption)
        with generator.captioned(wanted):
            generator.write_context(initial_noise(7, 0, SHAPE), 0)
        results.append(generator.denoise(initial_noise(SEED, 3, SHAPE), STEPS, 3, SEED))
    assert torch.equal(*results)
    assert not torch.equal(results[0], after_history(model, captioned=True))
