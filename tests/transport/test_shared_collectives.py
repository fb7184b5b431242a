"""Sums and exchanges through shared memory: right each time, and no wait without an end."""

import contextlib
import os
import resource

import pytest
import torch

from pp1_orchestrator.transport.shared_memory import _new_memory
from tests.transport.collective_scenarios import MESH, act
from tests.transport.world import run_world


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return run_world(act, MESH + 1, tmp_path_factory.mktemp("sums"))[1:]


def test_every_sum_is_right_whatever_came_before_it(ranks):
    assert [rank["wrong"] for rank in ranks] == [[]] * MESH


def test_where_one_rank_can_not_share_none_does(ranks):
    assert [rank["crowded"] for rank in ranks] == [True] * MESH


def test_what_does_not_lie_in_one_piece_is_summed_too(ranks):
    assert [rank["turned"] for rank in ranks] == [(MESH * torch.arange(6.0).view(2, 3).t()).tolist()] * MESH


def test_every_exchange_is_right_whatever_lies_where(ranks):
    assert [rank["exchanged"] for rank in ranks] == [[]] * MESH
    assert [rank["exchanged by shard"] for rank in ranks] == [[]] * MESH


def test_what_no_slot_holds_is_exchanged_too(ranks):
    assert [rank["exchanged by gloo"] for rank in ranks] == [True] * MESH


def test_a_silent_rank_is_not_waited_for_longer_than_the_limit(ranks):
    assert ranks[0]["silent"] == "a rank of the mesh was silent for too long"


def test_where_no_memory_can_be_made_none_is_offered_and_no_file_stays_open():
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = os.listdir("/proc/self/fd")
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with contextlib.ExitStack() as files:
            offered = _new_memory(1 << 20, files)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert offered == -1
    assert os.listdir("/proc/self/fd") == before
