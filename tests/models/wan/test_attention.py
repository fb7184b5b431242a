"""Weaker attention to the middle of the history, against a softmax with ln(bias) added to those scores."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pp1_orchestrator.models.wan.attention import attend, attend_with_sum, softmax_with_sum
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.kv_cache import KVCache
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

HEADS, DIM = 2, 24
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 2e-2}


@pytest.fixture(scope="module")
def model():
    return make_model()


def one_layer(frame_tokens, chunk, window, dtype=torch.float32):
    sizes = {"chunk_frames": chunk, "local_attn_size": window}
    config = WanConfig(dim=HEADS * DIM, ffn_dim=1, num_heads=HEADS, num_layers=1, **sizes)
    return KVCache(config, (2, 2 * frame_tokens), dtype=dtype)


def tokens(count, seed, dtype=torch.float64, scale=1.0):
    made = torch.randn(1, count, HEADS, DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (scale * made).to(dtype)


def write(cache, k, v):
    """What a pass does before it attends."""
    for slot, new in zip(cache.slots(0), (k, v), strict=True):
        slot.copy_(new)


def reference(q, k, v, frame, own, bias):
    """Explicit softmax in float64 over keys in order; the last `own` tokens are the chunk's."""
    q, k, v = (x.double().transpose(1, 2) for x in (q, k, v))
    scores = q @ k.transpose(-1, -2) / math.sqrt(DIM)
    scores[..., frame : k.shape[2] - own] += math.log(bias)
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


@given(
    chunk=st.integers(1, 3),
    past=st.integers(0, 4),
    frame=st.integers(1, 5),
    bias=st.floats(0.01, 4),
    scale=st.sampled_from([0.0, 1.0, 30.0]),
    dtype=st.sampled_from(list(TOLERANCE)),
)
def test_biased_attention_is_a_softmax_with_the_logarithm_added(chunk, past, frame, bias, scale, dtype):
    cache = one_layer(frame, chunk, 5 * chunk, dtype)
    own, total = chunk * frame, (past + 1) * chunk * frame
    q, k, v = tokens(own, 1, dtype, scale), tokens(total, 2, dtype), tokens(total, 3, dtype)
    for index in range(past):
        part = slice(index * own, (index + 1) * own)
        cache.begin(index * chunk)
        write(cache, k[:, part], v[:, part])
    cache.begin(past * chunk, bias)
    write(cache, k[:, -own:], v[:, -own:])
    found = cache.attend(0, q)
    assert found.dtype == dtype
    wanted = reference(q, k, v, frame, own, bias)
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=max(1.0, scale) * TOLERANCE[dtype])


@pytest.mark.parametrize("bias", [0.3, 1.0])
@pytest.mark.parametrize("chunks", [0, 1, 2])
def test_denoising_with_a_bias_equals_the_plain_model_with_a_mask(model, bias, chunks):
    generator = make_generator(model)
    past = [latents(CHUNK, 10 + i) for i in range(chunks)]
    for index, part in enumerate(past):
        generator.write_context(part, index * CHUNK)
    noise = latents(CHUNK, 20)
    found = generator.denoise(noise, (1000.0,), chunks * CHUNK, seed=0, bias=bias)
    history = [Chunk(part, 0.0) for part in past]
    wanted = noise - plain_flow(model, [*history, Chunk(noise, 1000.0)], 0, bias)
    assert_same_maths(found, wanted)


def test_a_bias_matters_and_lasts_for_one_denoising_only(model):
    def run(bias):
        generator = make_generator(model)
        generator.rebuild(latents(CHUNK, 30), 0)
        biased = generator.denoise(latents(CHUNK, 31), (1000.0,), CHUNK, seed=0, bias=bias)
        generator.write_context(latents(CHUNK, 32), CHUNK)  # the clean pass: never biased
        return biased, generator.denoise(latents(CHUNK, 33), (1000.0,), 2 * CHUNK, seed=0)

    (weak, weak_next), (plain, plain_next) = run(0.1), run(1.0)
    assert (weak - plain).abs().max() > 1e-3
    assert torch.equal(weak_next, plain_next)


def test_bias_one_and_an_empty_middle_are_todays_attention_bit_for_bit(model):
    one, other = make_generator(model), make_generator(model)
    for start in (0, 3, 6, 9):
        args = latents(CHUNK, start), (1000.0, 500.0), start, 3
        assert torch.equal(one.denoise(*args), other.denoise(*args, bias=1.0))
        one.write_context(latents(CHUNK, 40 + start), start)
        other.write_context(latents(CHUNK, 40 + start), start)
    for generator in (one, other):
        generator.reset()
    args = latents(CHUNK, 0), (1000.0, 500.0), 0, 3
    assert torch.equal(one.denoise(*args), other.denoise(*args, bias=0.3))


def test_unbiased_attention_is_one_call_over_all_valid_keys():
    cache = one_layer(4, 1, 3)
    q, k, v = (tokens(8, seed, torch.float32) for seed in (1, 2, 3))
    for start in (0, 1):
        part = slice(4 * start, 4 * start + 4)
        cache.begin(start)
        write(cache, k[:, part], v[:, part])
        found = cache.attend(0, q[:, :4])
    assert torch.equal(found, attend(q[:, :4], k, v))


def test_a_wrapped_history_has_no_first_frame(model):
    generator = make_generator(model)
    window = CONFIG.local_attn_size
    for start in range(0, window, CHUNK):
        generator.write_context(latents(CHUNK, start), start)
    generator.denoise(latents(CHUNK, 1), (1000.0,), window - CHUNK, 0, bias=0.3)  # the last chunk that fits
    calls = generator.calls
    with pytest.raises(ValueError, match="whole history in the window of 9 frames"):
        generator.denoise(latents(CHUNK, 1), (1000.0,), window, 0, bias=0.3)
    assert generator.calls == calls
    generator.denoise(latents(CHUNK, 1), (1000.0,), window, 0)


@pytest.mark.parametrize("bias", [0.0, -1.0, math.nan])
def test_a_bias_is_above_zero(bias):
    with pytest.raises(ValueError, match="above 0"):
        make_cache().begin(0, bias)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_the_kernel_and_the_written_out_softmax_agree(dtype):
    q, k, v = tokens(7, 1, dtype), tokens(40, 2, dtype), tokens(40, 3, dtype)
    found = attend_with_sum(q, k, v)
    wanted = softmax_with_sum(*(x.transpose(1, 2) for x in (q, k, v)))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.double(), other.double(), rtol=0, atol=TOLERANCE[dtype])
