"""Noise depends on the seed and the chunk's first frame, and on nothing that happened before."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pp1_orchestrator.models.wan.sampler import initial_noise, renoise_stream

SHAPE = (1, 3, 4, 4, 6)
places = st.tuples(st.integers(0, 2**32), st.integers(0, 1_000_000))


def both_streams(seed: int, start_frame: int) -> tuple[torch.Tensor, torch.Tensor]:
    return initial_noise(seed, start_frame, SHAPE), torch.randn(SHAPE, generator=renoise_stream(seed, start_frame))


@given(places, places)
def test_equal_places_give_equal_noise_and_others_do_not(one, other):
    draws = both_streams(*one)
    torch.rand(7)  # the global generator has no say
    again = both_streams(*other)
    for a, b in zip(draws, again, strict=True):
        assert torch.equal(a, b) == (one == other)


def test_a_stream_of_many_hours_does_not_come_to_the_next_seeds_noise():
    """Two latent frames of one seed made the two streams of the next seed's first chunk."""
    initial, fresh = both_streams(1, 0)
    for start_frame in (500_001, 500_002):
        for draw in both_streams(0, start_frame):
            assert not torch.equal(draw, initial)
            assert not torch.equal(draw, fresh)


@pytest.mark.parametrize("start_frame", [0, 3, 500_000])
def test_the_noise_of_a_seed_stays_what_it_was(start_frame):
    wanted = torch.randn(SHAPE, generator=torch.Generator().manual_seed(7 * 1_000_003 + 2 * start_frame))
    assert torch.equal(initial_noise(7, start_frame, SHAPE), wanted)


@given(places)
def test_the_same_place_gives_the_same_noise(place):
    first = both_streams(*place)
    torch.manual_seed(place[1])
    assert all(torch.equal(a, b) for a, b in zip(first, both_streams(*place), strict=True))


@given(places)
def test_the_two_streams_of_a_chunk_differ(place):
    initial, fresh = both_streams(*place)
    correlation = torch.corrcoef(torch.stack([initial.flatten(), fresh.flatten()]))[0, 1]
    assert abs(float(correlation)) < 0.35  # six standard deviations for 288 numbers


def test_it_is_standard_normal():
    noise = initial_noise(42, 9, (1, 3, 16, 32, 32))
    assert noise.dtype is torch.float32
    assert abs(float(noise.mean())) < 0.03
    assert abs(float(noise.std()) - 1) < 0.03
