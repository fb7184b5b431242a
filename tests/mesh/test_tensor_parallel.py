"""A tensor-parallel mesh of real processes computes what one process computes, and uses its own groups only."""

import itertools

import pytest
import torch
from safetensors.torch import load_file

from tests.mesh.tensor_parallel_scenarios import (
    CACHE_SINKS,
    COMPILED,
    COMPILED_CACHE,
    COMPILED_CACHE_LATENTS,
    COMPILED_DEGREE,
    DEGREES,
    ELEMENTS,
    LATENTS,
    LOOKED_AT,
    PLANS,
    act,
    left_behind,
    shipped_model,
    stream,
)
from tests.transport.world import run_world

by_degree = pytest.mark.parametrize("degree", DEGREES)
by_plan = pytest.mark.parametrize("plan", PLANS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mesh")


@pytest.fixture(scope="module")
def reports(folder):
    return run_world(act, max(DEGREES) + 1, folder)


@pytest.fixture(scope="module")
def whole():
    return shipped_model()


@pytest.fixture(scope="module")
def alone(whole):
    return stream(whole)


def split_dimension(name: str, qk: bool, cross: bool) -> int | None:
    """Which dimension of a block's parameter a plan divides among the ranks, None for those that every rank holds."""
    part, _, rest = name.removeprefix(LOOKED_AT).partition(".")
    if part == "ffn":
        return {"0.weight": 0, "0.bias": 0, "2.weight": 1}.get(rest)
    if part != "self_attn" and not (part == "cross_attn" and cross):
        return None
    layer, _, kind = rest.partition(".")
    if layer == "o":
        return 1 if kind == "weight" else None
    return 0 if layer in ("v", "norm_q", "norm_k") or qk else None


@by_degree
@by_plan
def test_latents_are_those_of_one_process(reports, folder, alone, degree, plan):
    for rank in range(1, degree + 1):
        latents = load_file(left_behind(folder, degree, plan, rank))[LATENTS]
        assert float((latents - alone).norm() / alone.norm()) < 1e-4
        assert torch.allclose(latents, alone, rtol=0, atol=1e-4 * float(alone.abs().max()))


@by_plan
@pytest.mark.parametrize("way", COMPILED)
def test_compiled_blocks_sum_over_the_mesh_too(reports, folder, alone, plan, way):
    for rank in range(1, COMPILED_DEGREE + 1):
        latents = load_file(left_behind(folder, COMPILED_DEGREE, plan, rank))[way]
        assert float((latents - alone).norm() / alone.norm()) < 1e-4


@by_plan
@pytest.mark.parametrize("policy", CACHE_SINKS)
def test_a_cache_policy_decides_alike_on_every_rank(reports, folder, whole, plan, policy):
    wanted = stream(whole, policy=policy)
    names = [policy, COMPILED_CACHE_LATENTS] if policy == COMPILED_CACHE else [policy]
    for rank, name in itertools.product(range(1, COMPILED_DEGREE + 1), names):
        latents = load_file(left_behind(folder, COMPILED_DEGREE, plan, rank))[name]
        assert float((latents - wanted).norm() / wanted.norm()) < 1e-4


@by_degree
@by_plan
def test_every_rank_makes_the_same_bits(reports, folder, degree, plan):
    """Each rank continues from its own latents, so a difference of one bit would grow."""
    first, *others = (load_file(left_behind(folder, degree, plan, rank))[LATENTS] for rank in range(1, degree + 1))
    assert all(torch.equal(first, other) for other in others)


@by_degree
@by_plan
def test_every_rank_holds_its_part_and_no_more(reports, folder, whole, degree, plan):
    ranks = [load_file(left_behind(folder, degree, plan, rank)) for rank in range(1, degree + 1)]
    wanted = {name: tensor for name, tensor in whole.state_dict().items() if name.startswith(LOOKED_AT)}
    for name, tensor in wanted.items():
        parts = [rank[name] for rank in ranks]
        dimension = split_dimension(name, PLANS[plan].qk, PLANS[plan].cross_attention)
        if dimension is None:
            assert all(torch.equal(part, tensor) for part in parts), name
        else:
            assert all(part.shape[dimension] * degree == tensor.shape[dimension] for part in parts), name
            assert torch.equal(torch.cat(parts, dimension), tensor), name
    assert {name for name in ranks[0] if name.startswith(LOOKED_AT)} == wanted.keys()


@by_degree
def test_splitting_more_leaves_less_on_each_rank(reports, folder, whole, degree):
    least, *others, most = (
        int(load_file(left_behind(folder, degree, plan, 1))[ELEMENTS]) for plan in sorted(PLANS, reverse=True)
    )
    assert all(least < other < most for other in others)
    assert most < sum(parameter.numel() for parameter in whole.parameters())


@by_degree
def test_every_rank_makes_every_group(reports, degree):
    names = {reports[rank][str(degree)]["next_group"] for rank in range(degree + 1)}
    assert len(names) == 1


@by_degree
def test_a_group_refuses_ranks_that_are_not_in_it(reports, degree):
    for rank in range(degree + 1):
        refused = reports[rank][str(degree)]["refused"]
        strangers = {"mesh": "mesh", "shard": "mesh"} if rank == 0 else {"pp": "pp", "pipe": "pp"} if rank > 1 else {}
        assert refused == {
            way: f"rank {rank} is not in the {group} group and must not use it" for way, group in strangers.items()
        }


@by_degree
def test_the_mesh_sums_and_hears_its_leader_without_rank_0(reports, degree):
    for rank in range(1, degree + 1):
        report = reports[rank][str(degree)]
        assert report["sum"] == sum(range(1, degree + 1))
        assert report["leader"] == 1


@by_degree
def test_a_rank_that_has_gone_is_one_line(reports, degree):
    assert reports[1][str(degree)]["lost"] == "a rank of the mesh has ended"


@by_degree
def test_every_socket_of_every_rank_is_on_loopback(reports, degree):
    for rank in range(degree + 1):
        addresses = reports[rank][str(degree)]["addresses"]
        assert addresses
        assert {address.removeprefix("::ffff:") for address in addresses} == {"127.0.0.1"}
