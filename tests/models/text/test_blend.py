"""Properties of prompt blending and of the way from one embedding to another."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pp1_orchestrator.contract.text_recipe import BlendMethod
from pp1_orchestrator.models.text.blend import blend, interpolate

TOKENS, CHANNELS = 6, 16
methods = st.sampled_from(["linear", "slerp"])
dtypes = st.sampled_from([torch.float32, torch.bfloat16])
seeds = st.integers(0, 2**31)
fractions = st.floats(0, 1)
weights = st.floats(0, 1e6)
positive = st.floats(1e-3, 1e3)
ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


def randoms(count, seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, TOKENS, CHANNELS, generator=generator).to(dtype)


def awkward(seed, dtype):
    """Two prompts whose tokens are zero, parallel, antiparallel, equal, almost equal, and as far apart as any."""
    a, b = randoms(2, seed, torch.float32)
    a[0], b[1] = 0, 0
    b[2], b[3], b[4] = 3 * a[2], -a[3], a[4]
    b[5] = a[5] * (1 + 1e-6)
    return torch.stack([a, b]).to(dtype)


@given(methods, dtypes, seeds)
def test_the_ends_of_the_way_are_exact(method, dtype, seed):
    source, target = (x[None] for x in awkward(seed, dtype))
    assert torch.equal(interpolate(source, target, 0.0, method), source)
    assert torch.equal(interpolate(source, target, 1.0, method), target)


@given(methods, dtypes, seeds, st.integers(0, 1), positive)
def test_a_prompt_with_all_the_weight_is_itself(method, dtype, seed, which, weight):
    embeds = awkward(seed, dtype)
    shares = [0.0, 0.0]
    shares[which] = weight
    assert torch.equal(blend(embeds, shares, method), embeds[which : which + 1])
    assert torch.equal(blend(embeds[:1], [weight], method), embeds[:1])
    assert torch.equal(blend(embeds[:1], [0.0], method), embeds[:1])


@given(methods, dtypes, seeds, st.tuples(positive, positive), st.integers(-300, 300))
def test_only_the_proportions_of_weights_count(method, dtype, seed, pair, exponent):
    embeds = awkward(seed, dtype)
    scaled = [math.ldexp(w, exponent) for w in pair]
    assert torch.equal(blend(embeds, pair, method), blend(embeds, scaled, method))
    near = blend(embeds, [3.7 * w for w in pair], method)
    torch.testing.assert_close(near, blend(embeds, pair, method), rtol=ROUNDING[dtype], atol=ROUNDING[dtype])


@given(methods, seeds)
def test_no_weight_at_all_means_equal_weights(method, seed):
    embeds = randoms(2, seed)
    assert torch.equal(blend(embeds, [0, 0], method), blend(embeds, [1, 1], method))


@given(methods, dtypes, seeds, weights, weights, fractions)
def test_awkward_tokens_give_numbers_of_the_same_type(method, dtype, seed, first, second, fraction):
    embeds = awkward(seed, dtype)
    for found in (blend(embeds, [first, second], method), interpolate(embeds[:1], embeds[1:], fraction, method)):
        assert torch.isfinite(found).all()
        assert found.dtype == dtype
        assert found.shape == (1, TOKENS, CHANNELS)


@given(dtypes, seeds, fractions)
def test_equal_tokens_survive_slerp_beside_unlike_ones(dtype, seed, fraction):
    embeds = awkward(seed, dtype)
    for found in (
        interpolate(embeds[:1], embeds[1:], fraction, "slerp"),
        blend(embeds, [1 - fraction, fraction], "slerp"),
    ):
        assert torch.equal(found[0, 4], embeds[0, 4])


@given(dtypes, seeds, st.integers(1, 5), st.lists(positive, min_size=5, max_size=5))
def test_a_linear_blend_has_the_mean_norm_and_the_direction_of_the_sum(dtype, seed, count, shares):
    embeds, shares = randoms(count, seed, dtype), shares[:count]
    found = blend(embeds, shares, "linear").double()
    exact = embeds.double()
    parts = torch.tensor(shares, dtype=torch.float64)[:, None, None] / sum(shares)
    mixed, norm = (parts * exact).sum(0, keepdim=True), (parts.flatten() * exact.flatten(1).norm(dim=1)).sum()
    tolerance = ROUNDING[dtype]
    torch.testing.assert_close(found, mixed * norm / mixed.norm(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("method", ["linear", "slerp"])
def test_opposites_cancel_to_zero_and_stay_there(method):
    half = randoms(1, 0)
    assert not blend(torch.cat([half, -half]), [1, 1], method).any()


@given(seeds, st.floats(0.01, 0.99))
def test_slerp_turns_and_stretches_evenly(seed, fraction):
    source, target = randoms(2, seed).split(1)
    found = interpolate(source, target, fraction, "slerp").double()
    whole, part = angle(source, target), angle(source, found)
    torch.testing.assert_close(part, fraction * whole, rtol=1e-3, atol=1e-5)
    norms = torch.lerp(source.double().norm(dim=-1), target.double().norm(dim=-1), fraction)
    torch.testing.assert_close(found.norm(dim=-1), norms, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(blend(torch.cat([source, target]), [1 - fraction, fraction], "slerp"), found.float())


def angle(a, b):
    a, b = (x.double() / x.double().norm(dim=-1, keepdim=True) for x in (a, b))
    return torch.acos((a * b).sum(-1).clamp(-1, 1))


@given(dtypes, seeds, st.lists(fractions, min_size=3, max_size=6), st.floats(0.1, 10))
def test_every_step_of_a_way_comes_nearer(dtype, seed, steps, stretch):
    """Slerp promises that for tokens at most a right angle apart: here those with no negative entries."""
    source, target = randoms(2, seed, dtype).split(1)
    acute = source.abs(), stretch * target.abs()
    steps = [0.0, *sorted(steps), 1.0]
    ways: list[tuple[BlendMethod, tuple]] = [("linear", (source, target)), ("slerp", acute)]
    for method, (start, end) in ways:
        left = [(interpolate(start, end, f, method) - end).double().norm() for f in steps]
        slack = ROUNDING[dtype] * left[0]
        assert all(later <= earlier + slack for earlier, later in itertools.pairwise(left))
        assert left[-1] == 0


@given(methods, seeds)
def test_a_way_has_no_jumps(method, seed):
    embeds = awkward(seed, torch.float32)
    kept = [0, 1, 2, 4, 5]  # opposite tokens may pass zero
    source, target = embeds[:1, kept], embeds[1:, kept]
    points = [interpolate(source, target, i / 64, method) for i in range(65)]
    largest = (source - target).norm() + source.norm()
    assert all((b - a).norm() < math.pi / 64 * largest for a, b in itertools.pairwise(points))


@pytest.mark.parametrize(
    ("count", "shares", "method", "message"),
    [
        (2, [1, -0.5], "linear", "not negative"),
        (2, [1, math.inf], "linear", "finite"),
        (2, [1, math.nan], "slerp", "finite"),
        (2, [1], "linear", "1 weights for 2 prompts"),
        (0, [], "linear", "0 prompts"),
        (3, [1, 1, 1], "slerp", "two prompts, not 3"),
        (3, [1, 0, 0], "slerp", "two prompts, not 3"),
    ],
)
def test_what_cannot_be_blended_is_refused(count, shares, method, message):
    with pytest.raises(ValueError, match=message):
        blend(randoms(count, 0), shares, method)


@pytest.mark.parametrize("fraction", [-0.1, 1.1, math.nan])
def test_a_way_has_two_ends(fraction):
    source, target = randoms(2, 0).split(1)
    with pytest.raises(ValueError, match=r"0…1"):
        interpolate(source, target, fraction, "linear")
