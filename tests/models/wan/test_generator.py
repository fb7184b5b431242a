"""The generator against two others: diffusers' Wan without history, and a plain float64 one with it."""

import pytest
import torch
from diffusers import WanTransformer3DModel
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers

from pp1_orchestrator.models.wan.attention import attend
from pp1_orchestrator.models.wan.rope import rope_table
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

SEED = 5
FLOAT32_BOUND = 1e-5


class NoHistory:
    """The chunk sees itself alone."""

    def __init__(self, shape) -> None:
        self._own = torch.empty(shape), torch.empty(shape)

    def slots(self, layer):
        return self._own

    def attend(self, layer, q):
        return attend(q, *self._own)


@pytest.fixture(scope="module")
def model():
    return random_model()


@pytest.fixture(scope="module")
def diffusers_model(model):
    """diffusers' own converter knows Wan2.1's names: ours must be those."""
    other = WanTransformer3DModel(
        num_attention_heads=CONFIG.num_heads,
        attention_head_dim=CONFIG.head_dim,
        in_channels=CONFIG.in_dim,
        out_channels=CONFIG.out_dim,
        text_dim=CONFIG.text_dim,
        freq_dim=CONFIG.freq_dim,
        ffn_dim=CONFIG.ffn_dim,
        num_layers=CONFIG.num_layers,
        eps=CONFIG.eps,
    )
    other.load_state_dict(convert_wan_transformer_to_diffusers(dict(model.state_dict())))
    return other.eval()


# diffusers makes the angles of a time in float32, which costs digits in proportion to the time.
@pytest.mark.parametrize(("time", "bound"), [(0.0, 2e-6), (1.0, 2e-6), (250.0, 5e-6), (1000.0, 1e-5)])
def test_a_chunk_without_history_is_diffusers_wan(model, diffusers_model, time, bound):
    latents = initial_noise(SEED, 0, (2, 3, CONFIG.in_dim, HEIGHT, WIDTH))
    embeds = torch.cat([random_text(1), random_text(2)])
    timestep = torch.full((2,), time)
    rope = rope_table(CONFIG.head_dim, 0, 3, HEIGHT // 2, WIDTH // 2)
    with torch.no_grad():
        flow = model(
            latents,
            timestep,
            model.embed_text(embeds),
            NoHistory((2, rope.shape[0], CONFIG.num_heads, CONFIG.head_dim)),
            rope,
        )
        wanted = diffusers_model(latents.transpose(1, 2), timestep, embeds).sample.transpose(1, 2)
    assert relative_error(flow, wanted) < bound


@pytest.mark.parametrize(
    ("chunk", "window", "sink", "steps", "shift", "warp", "clean"),
    [
        (3, 9, 0, (1000, 750, 500, 250), 1.0, False, True),
        (3, 9, 3, (1000, 750, 500, 250), 5.0, True, True),
        (1, 4, 2, (1000, 600), 8.0, False, True),
        (2, 4, 0, (1000, 937, 625), 5.0, False, False),
    ],
    ids=["window", "window and sink", "frame by frame", "no clean pass"],
)
def test_chunks_with_history_are_those_of_the_reference(model, chunk, window, sink, steps, shift, warp, clean):
    generator = make_generator(model, FlowSchedule(shift, warp), chunk, window, sink)
    reference = ReferenceWan(CONFIG, model.state_dict(), window, sink)
    levels = noise_levels(steps, shift, warp)
    chunks = 2 + window // chunk  # two of them push others out
    shape = (1, chunk, CONFIG.in_dim, HEIGHT, WIDTH)
    for index in range(chunks):
        start = index * chunk
        if index in (0, 2):  # the text changes under way; the history stays
            generator.set_text(random_text(index))
            reference.set_text(random_text(index)[0])
        noise, stream = initial_noise(SEED, start, shape), renoise_stream(SEED, start)
        draws = [torch.randn(shape, generator=stream)[0] for _ in steps[1:]]
        latents = generator.denoise(noise, steps, start, SEED)
        wanted = reference.chunk(noise[0], levels, start, draws)
        assert relative_error(latents[0], wanted) < FLOAT32_BOUND, f"chunk {index}"
        if clean:
            generator.write_context(latents, start)
            reference.flow(wanted, 0.0, start)
    assert generator.calls == chunks * (len(steps) + clean)


def test_the_history_matters(model):
    """Without this, the comparison above could agree on a generator that forgets."""
    shape = (1, 3, CONFIG.in_dim, HEIGHT, WIDTH)
    results = []
    for seed in (1, 2):
        generator = make_generator(model, FlowSchedule())
        generator.set_text(random_text(0))
        generator.write_context(initial_noise(seed, 0, shape), 0)
        results.append(generator.denoise(initial_noise(SEED, 3, shape), (1000,), 3, SEED))
    assert relative_error(*results) > 100 * FLOAT32_BOUND


def test_a_generator_without_text_says_so(model):
    generator = make_generator(model, FlowSchedule())
    with pytest.raises(ValueError, match="set_text comes before the first chunk"):
        generator.denoise(initial_noise(SEED, 0, (1, 3, CONFIG.in_dim, HEIGHT, WIDTH)), (1000,), 0, SEED)
