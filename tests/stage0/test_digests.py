"""The digests of a run: the bytes count, not how they came in."""

import hashlib
from typing import cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pp1_orchestrator.stage0.in_flight_chunk import InFlightChunk
from pp1_orchestrator.stage0.observers import Digests
from pp1_orchestrator.types import DecodedChunk


def digests(*chunks):
    """Of the pixels and of the latents of chunks. chunks: a tensor of bytes each, which is both."""
    run = Digests()
    for index, data in enumerate(chunks):
        run.emitted(cast(InFlightChunk, None), data, DecodedChunk(index, 0, data.contiguous(), (), 0.0))
    return run.pixels.hexdigest(), run.latents.hexdigest()


@given(st.binary(min_size=1, max_size=200), st.integers(0, 200))
def test_where_the_stream_is_cut_makes_no_difference(data, cut):
    whole, digest = torch.tensor(list(data), dtype=torch.uint8), hashlib.sha256(data).hexdigest()
    assert digests(whole[:cut], whole[cut:]) == digests(whole) == (digest, digest)


def test_a_view_counts_by_its_own_order():
    latents = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    turned = latents.permute(2, 0, 1)
    assert digests(turned) == digests(turned.clone(memory_format=torch.contiguous_format))
    assert digests(turned)[1] != digests(latents)[1]


@pytest.mark.parametrize("index", [0, 11, 23])
def test_one_changed_value_changes_the_digest(index):
    latents = torch.zeros(24)
    before = digests(latents)[1]
    latents[index] = 1e-30
    assert digests(latents)[1] != before
