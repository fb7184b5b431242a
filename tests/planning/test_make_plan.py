"""From settings and a machine to a plan: what is placed where, sent, predicted and recommended."""

import pytest
import torch

from pp1_orchestrator.app.strategy_registry import STRATEGIES
from pp1_orchestrator.planning.cost_model import message_bytes
from pp1_orchestrator.planning.inputs_outputs import requirements
from pp1_orchestrator.planning.make_plan import predict, read_plan, write_plan
from pp1_orchestrator.planning.memory_plan import peaks
from pp1_orchestrator.planning.profile import profile_model
from tests.planning.factories import machine, settings, shipped, with_name

MADE = settings()
CONFIG = shipped(MADE)
PROFILE = profile_model(MADE, CONFIG, STRATEGIES)


def test_who_holds_what():
    plan = predict(MADE, PROFILE, machine(), STRATEGIES)
    assert {rank: set(parts) for rank, parts in plan.memory.items()} == {
        "0": {"vae", "decode_cache", "text_encoder"},
        "1": {"generator", "kv_cache", "text_cache"},
        "2": {"generator", "kv_cache", "text_cache"},
    }
    assert [placement.role for placement in plan.ranks.values()] == ["stage 0", "leader", "follower"]


@pytest.mark.parametrize("routing", ["mesh_encoder", "hybrid_cache"])
def test_the_leader_holds_the_text_encoder_where_the_routing_says_so(routing):
    plan = predict(with_name(MADE, "routing", routing), PROFILE, machine(), STRATEGIES)
    assert "text_encoder" not in plan.memory["0"]
    assert "text_encoder" in plan.memory["1"]
    assert "text_encoder" not in plan.memory["2"]


def test_periods_follow_from_work_rates_and_delays():
    plan = predict(MADE, PROFILE, machine(), STRATEGIES)
    passes = PROFILE.work["generator"], PROFILE.work["context"]
    generator_s, context_s = (work.flops / 1e9 + work.reduction_bytes / 1e6 for work in passes)
    decode_s = PROFILE.work["decode"].flops / 1e9
    wire = plan.wire_bytes["rank0_encoder"]
    overhead_s = (wire.envelope + wire.result) / 1e6
    overlapped = max(4 * generator_s + context_s, decode_s) + overhead_s
    assert plan.predicted_period_ms["stage0_owned"] == pytest.approx(1e3 * overlapped)
    assert plan.predicted_period_ms["sync"] == pytest.approx(
        1e3 * (4 * generator_s + max(context_s, decode_s) + overhead_s)
    )
    slowed = predict(settings("debug.mesh_s=50"), PROFILE, machine(), STRATEGIES)
    assert slowed.predicted_period_ms["stage0_owned"] == pytest.approx(
        1e3 * (50 + 4 * generator_s + context_s + overhead_s)
    )
    assert plan.flops.mesh_rank == 4 * passes[0].flops + passes[1].flops
    assert plan.flops.floor_ms["stage0"] == pytest.approx(1e3 * decode_s)


def test_ranks_that_share_a_device_are_slower():
    free, shared = (predict(MADE, PROFILE, machine(parallel_ranks), STRATEGIES) for parallel_ranks in (8, 1))
    assert shared.predicted_period_ms["stage0_owned"] > free.predicted_period_ms["stage0_owned"]


@pytest.mark.parametrize("context", ["none", "recompute_synthetic", "recompute_latent", "recompute_anchor"])
def test_every_context_has_its_price(context):
    made = with_name(MADE, "context", context)
    profile = profile_model(made, CONFIG, STRATEGIES)
    plan = predict(made, profile, machine(), STRATEGIES)
    phases = plan.phases_ms
    assert (phases["recompute"] > 0) == context.startswith("recompute")
    assert phases["clean_pass"] == 0
    assert (phases["encode"] > 0) == (context == "recompute_anchor") == ("vae_encoder" in plan.memory["0"])
    carried = PROFILE.needs.latent_bytes if context.startswith("recompute") else 0
    plain = predict(MADE, PROFILE, machine(), STRATEGIES).wire_bytes["rank0_encoder"]
    assert plan.wire_bytes["rank0_encoder"].envelope == plain.envelope + carried


def test_bytes_by_routing():
    needs = requirements(MADE, CONFIG)
    sent = {
        routing: message_bytes(STRATEGIES.routings[routing], needs, torch.bfloat16, "drei Wörter", rebuilds=False)
        for routing in ("rank0_encoder", "mesh_encoder", "hybrid_cache")
    }
    tensor, words = 48 * 96 * 2, 12
    new = {name: wire.envelope_new_prompt - wire.envelope for name, wire in sent.items()}
    known = {name: wire.envelope_known_prompt - wire.envelope for name, wire in sent.items()}
    returned = {name: wire.result_new_prompt - wire.result for name, wire in sent.items()}
    assert new == {"rank0_encoder": tensor, "mesh_encoder": words, "hybrid_cache": words}
    assert known == {"rank0_encoder": tensor, "mesh_encoder": words, "hybrid_cache": tensor}
    assert returned == {"rank0_encoder": 0, "mesh_encoder": 0, "hybrid_cache": tensor}
    assert sent["rank0_encoder"].result > needs.latent_bytes


def test_what_is_recommended():
    plan = predict(MADE, PROFILE, machine(), STRATEGIES)
    assert (plan.recommended_overlap, plan.recommended_routing) == ("stage0_owned", "rank0_encoder")
    inline = with_name(settings("layout=inline"), "overlap", "loop_ahead")
    assert (
        predict(inline, profile_model(inline, CONFIG, STRATEGIES), machine(), STRATEGIES).recommended_overlap
        == "stage0_owned"
    )
    ahead = with_name(MADE, "overlap", "loop_ahead")
    assert predict(ahead, PROFILE, machine(), STRATEGIES).recommended_overlap == "loop_ahead", "as fast, and chosen"


def test_the_encoder_is_recommended_away_from_rank_0_where_its_peak_does_not_fit():
    def recommended(made, room):
        return predict(made, PROFILE, machine(memory_bytes=room), STRATEGIES).recommended_routing

    peak = peaks(MADE, PROFILE, STRATEGIES, text_on_rank0=True)[0]
    assert [recommended(MADE, room) for room in (peak, peak - 1)] == ["rank0_encoder", "hybrid_cache"]
    shared = settings("layout=gpu_shared", "layout.memory_share=0.5")
    assert [recommended(shared, room) for room in (2 * peak, 2 * peak - 2)] == ["rank0_encoder", "hybrid_cache"]
    assert recommended(settings("layout=inline"), peak - 1) == "rank0_encoder", "the mesh is in the same process"


def test_a_plan_comes_back_from_its_file(tmp_path):
    plan = predict(MADE, PROFILE, machine(parallel_ranks=2), STRATEGIES)
    write_plan(plan, tmp_path / "plan.json")
    assert read_plan(tmp_path / "plan.json") == plan
