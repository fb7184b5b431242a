"""The forecast in its small form, on the shipped model's sizes: work is divided, sums are counted and have a price."""

import pytest
import torch

from benchmarks.sizes import ALL_CASES
from benchmarks.tp_forecast import LINKS, Link, RankTime, header, measure, row

CASE, PASSES = ALL_CASES["small"], 5
LAYERS = CASE.sizes.num_layers


@pytest.fixture(scope="module")
def ranks() -> dict[int, RankTime]:
    return {degree: measure(CASE, degree, torch.device("cpu"), torch.float32, repeats=2) for degree in (1, 2)}


def test_one_rank_sums_nothing_and_pays_nothing(ranks):
    assert (ranks[1].sums, ranks[1].nbytes) == (0, 0)
    assert all(ranks[1].total_s(link) == ranks[1].own_s > 0 for link in LINKS)


def test_every_sum_of_a_chunk_is_counted(ranks):
    """A block has five: width and o in both attentions, and the feed-forward; the last write stops early."""
    whole, stopped = 5 * LAYERS, 5 * (LAYERS - 1) + 1
    assert ranks[2].sums == (PASSES - 1) * whole + stopped
    tokens = 3 * 4 * 4
    assert ranks[2].nbytes > 3 * LAYERS * (PASSES - 1) * tokens * CASE.sizes.dim * 4


def test_a_sum_costs_its_latency_and_a_rings_way(ranks):
    link = Link("made", bandwidth=1e9, latency_s=1e-3)
    assert link.seconds(4, sums=2, nbytes=10**9) == pytest.approx(2e-3 + 1.5)
    assert ranks[2].total_s(link) > ranks[2].own_s + ranks[2].sums * link.latency_s


def test_the_table_has_a_cell_for_every_column(ranks):
    lines = [*header(), row("small", ranks[2], ranks[1])]
    assert len({line.count("|") for line in lines}) == 1
