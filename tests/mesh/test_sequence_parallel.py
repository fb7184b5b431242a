"""A sequence-parallel mesh of real processes computes what one process computes, whatever its cache keeps."""

import pytest
import torch
from safetensors.torch import load_file

from tests.golden.loading import LIMIT, Golden, errors
from tests.mesh.sequence_parallel_scenarios import (
    ALONE,
    DEGREES,
    ELEMENTS,
    STREAMS,
    UPSTREAM,
    UPSTREAM_DEGREE,
    act,
    left_behind,
    make_stream,
)
from tests.mesh.tensor_parallel_scenarios import shipped_model
from tests.transport.world import run_world

by_degree = pytest.mark.parametrize("degree", DEGREES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mesh")


@pytest.fixture(scope="module")
def reports(folder):
    return run_world(act, max(DEGREES) + 1, folder)


@pytest.fixture(scope="module")
def ranks(reports, folder):
    """What each rank made, by degree."""
    return {
        degree: [load_file(left_behind(folder, degree, rank)) for rank in range(1, degree + 1)] for degree in DEGREES
    }


@by_degree
@pytest.mark.parametrize("name", STREAMS)
def test_latents_are_those_of_one_process(ranks, degree, name):
    alone = make_stream(STREAMS[name], ALONE)
    for rank in ranks[degree]:
        assert float((rank[name] - alone).norm() / alone.norm()) <= 1e-5


def test_every_stream_differs_from_the_plain_one():
    """So that each of them has something to show."""
    made = {name: make_stream(what, ALONE) for name, what in STREAMS.items()}
    for name, latents in made.items():
        same = latents.shape == made["plain"].shape and torch.equal(latents, made["plain"])
        assert same == (name == "plain"), name


def test_chunks_are_upstreams(ranks):
    for rank in ranks[UPSTREAM_DEGREE]:
        assert max(errors(rank[UPSTREAM], Golden(UPSTREAM)["expected/latents"])) <= LIMIT


@by_degree
@pytest.mark.parametrize("name", STREAMS)
def test_every_rank_gets_the_same_bits(ranks, degree, name):
    first, *others = (rank[name] for rank in ranks[degree])
    assert all(torch.equal(first, other) for other in others)


@by_degree
def test_every_rank_holds_all_weights(ranks, degree):
    whole = sum(parameter.numel() for parameter in shipped_model().parameters())
    assert {int(rank[ELEMENTS]) for rank in ranks[degree]} == {whole}


@by_degree
def test_a_rank_that_has_gone_is_one_line(reports, degree):
    assert reports[1][str(degree)]["lost"] == "a rank of the mesh has ended"
