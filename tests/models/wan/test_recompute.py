"""The history can be forgotten, moved and rebuilt; without that it is what it always was."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.sampler import renoise_stream
from tests.models.wan.factories import (
    CHUNK,
    CONFIG,
    Chunk,
    assert_same_maths,
    latents,
    make_cache,
    make_generator,
    make_model,
    plain_flow,
)

WINDOW = CONFIG.local_attn_size
STEPS = (1000.0, 500.0)


@pytest.fixture(scope="module")
def model():
    return make_model()


def stream(generator, starts, steps=STEPS):
    """Denoise and write a chunk at every start frame; the latents of all of them."""
    made = []
    for start in starts:
        made.append(generator.denoise(latents(CHUNK, start), steps, start, seed=3))
        generator.write_context(made[-1], start)
    return torch.cat(made, 1)


@pytest.mark.parametrize("chunks", [1, 2])
@pytest.mark.parametrize("start", [0, 12])
def test_a_rebuilt_history_is_block_causal(model, chunks, start):
    generator = make_generator(model)
    stream(generator, [0, 3, 6, 9])
    context, noise = latents(chunks * CHUNK, 50), latents(CHUNK, 51)
    before = generator.calls
    generator.rebuild(context, start)
    assert generator.calls - before == chunks

    found = generator.denoise(noise, (1000.0,), start + chunks * CHUNK, seed=0)
    clean = [Chunk(part, 0.0) for part in context.split(CHUNK, 1)]
    wanted = noise - plain_flow(model, [*clean, Chunk(noise, 1000.0)], start)
    assert_same_maths(found, wanted)


def test_rebuilding_from_a_streams_own_latents_goes_on_as_the_stream(model):
    one, other = make_generator(model), make_generator(model)
    made = stream(one, [0, 3])
    stream(other, [0, 3, 6])
    other.rebuild(made, 0)
    assert torch.equal(stream(one, [6]), stream(other, [6]))


def test_a_full_window_can_be_rebuilt_and_then_goes_round(model):
    one, other = make_generator(model), make_generator(model)
    made = stream(one, [0, 3, 6])
    assert made.shape[1] == WINDOW
    other.rebuild(made, 0)
    assert torch.equal(stream(one, [9, 12]), stream(other, [9, 12]))


def test_after_a_reset_nothing_of_the_past_is_left(model):
    used, fresh = make_generator(model), make_generator(model)
    stream(used, [0, 3, 6, 9])
    used.rebuild(latents(2 * CHUNK, 60), 15)
    used.reset()
    starts = [0, 3, 6, 9, 12]
    assert torch.equal(stream(used, starts), stream(fresh, starts))


def test_the_noise_between_steps_follows_the_true_start_frame(model):
    generator = make_generator(model)
    context, noise, start = latents(CHUNK, 70), latents(CHUNK, 71), 12
    generator.rebuild(context, start - CHUNK)
    found = generator.denoise(noise, STEPS, start, seed=5)

    past = Chunk(context, 0.0)
    first = noise - plain_flow(model, [past, Chunk(noise, 1000.0)], start - CHUNK)
    again = torch.lerp(first, torch.randn(noise.shape, generator=renoise_stream(5, start)).double(), 0.5)
    wanted = again - 0.5 * plain_flow(model, [past, Chunk(again, 500.0)], start - CHUNK)
    assert_same_maths(found, wanted)


@pytest.mark.parametrize("sink", [0, 3])
@pytest.mark.parametrize("origin", [0, 6])
def test_the_ring_turns_relative_to_its_first_frame(sink, origin):
    """One token a frame, whose key and value say which frame it is: what is seen is the sink and the last frames."""
    window = 12
    config = WanConfig(
        dim=8, ffn_dim=1, num_heads=1, num_layers=1, chunk_frames=CHUNK, local_attn_size=window, sink_frames=sink
    )
    cache = KVCache(config, (2, 2), dtype=torch.float64)
    cache.begin(0)
    for slot in cache.slots(0):
        slot.fill_(1e3)
    cache.rebase(origin)
    frames = torch.randn(origin + 30, 1, 8, generator=torch.Generator().manual_seed(0)).double()
    for start in range(origin, origin + 30, CHUNK):
        own = frames[None, start : start + CHUNK]
        cache.begin(start)
        for slot in cache.slots(0):
            slot.copy_(own)
        found = cache.attend(0, own)
        first = max(origin, start + CHUNK - window)
        kept = min(first, origin + sink)  # before the window is full, the sink is a part of it
        seen = torch.cat([frames[origin:kept], frames[max(first, first + kept - origin) : start + CHUNK]])[None]
        q, kv = own.transpose(1, 2), seen.transpose(1, 2)
        wanted = scaled_dot_product_attention(q, kv, kv).transpose(1, 2).flatten(2)
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("frames", [0, 1, CHUNK + 1, WINDOW + CHUNK])
def test_a_context_that_does_not_fit_is_refused_and_changes_nothing(model, frames):
    generator, same = make_generator(model), make_generator(model)
    stream(generator, [0])
    stream(same, [0])
    with pytest.raises(ValueError, match=f"{frames} latent frames"):
        generator.rebuild(latents(frames, 80), 0)
    assert generator.calls == same.calls
    assert torch.equal(stream(generator, [3]), stream(same, [3]))


@pytest.mark.parametrize("frame", [1, -3])
def test_a_history_begins_with_a_chunk(frame):
    with pytest.raises(ValueError, match=str(frame)):
        make_cache().rebase(frame)


def test_nothing_comes_before_the_first_frame_of_a_history():
    cache = make_cache()
    cache.rebase(6)
    with pytest.raises(ValueError, match="before the history's first frame 6"):
        cache.begin(3)
