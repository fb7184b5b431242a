"""Peaks by rank: which parts of a profile come together in a process, and that a profile finds those of a real run."""

import pytest

from pp1_orchestrator.app.strategy_registry import STRATEGIES
from pp1_orchestrator.config.validate import generator_config
from pp1_orchestrator.planning.make_plan import predict
from pp1_orchestrator.planning.memory_plan import peaks
from pp1_orchestrator.planning.part_profiles import Part
from pp1_orchestrator.planning.profile import ModelProfile, profile_model
from tests.planning.factories import machine, settings, shipped

MIB = 1 << 20
COMPONENTS = {
    "vae": 1,
    "vae_encoder": 2,
    "decode_cache": 4,
    "text_encoder": 8,
    "generator": 16,
    "kv_cache": 32,
    "text_cache": 64,
}
STAGE0, MESH, TEXT = 1 + 2 + 4, 16 + 32 + 64, 8
GENERATE, DECODE, ENCODE_TEXT = 100, 300, 1000


@pytest.fixture(scope="module")
def found() -> ModelProfile:
    made = settings()
    activation_peak: dict[Part, int] = {"generator": GENERATE, "decode": DECODE, "text": ENCODE_TEXT}
    return ModelProfile(profile_model(made, shipped(made), STRATEGIES).needs, COMPONENTS, {}, activation_peak)


def test_rank_0_encodes_prompts_beside_a_decode(found):
    expected = {0: STAGE0 + TEXT + DECODE + ENCODE_TEXT, 1: MESH + GENERATE, 2: MESH + GENERATE}
    assert peaks(settings(), found, STRATEGIES, text_on_rank0=True) == expected


def test_the_leader_encodes_prompts_before_a_pass(found):
    expected = {0: STAGE0 + DECODE, 1: MESH + TEXT + ENCODE_TEXT, 2: MESH + GENERATE}
    assert peaks(settings(), found, STRATEGIES, text_on_rank0=False) == expected


@pytest.mark.parametrize(
    ("overlap", "both"),
    [
        ("sync", max(GENERATE, DECODE)),
        ("loop_ahead", max(GENERATE, DECODE)),
        ("stage0_owned", GENERATE + DECODE),
        ("decode_thread", GENERATE + DECODE),
    ],
)
def test_one_process_decodes_while_it_generates_where_the_overlap_has_a_thread_for_it(found, overlap, both):
    made = settings("layout=inline", f"overlap={overlap}")
    assert peaks(made, found, STRATEGIES, text_on_rank0=True) == {0: STAGE0 + MESH + TEXT + both + ENCODE_TEXT}


def test_an_encoder_in_the_hosts_memory_takes_none_of_a_gpus(found):
    made = settings("layout=gpu_1p1", "text_encoder.device=cpu")
    assert peaks(made, found, STRATEGIES, text_on_rank0=True)[0] == STAGE0 + DECODE
    assert peaks(made, found, STRATEGIES, text_on_rank0=False)[1] == MESH + GENERATE


@pytest.mark.parametrize("layout", ["cpu", "inline"])
@pytest.mark.parametrize("routing", ["rank0_encoder", "hybrid_cache"])
def test_a_peak_is_more_than_what_is_held(layout, routing):
    made = settings(f"layout={layout}", f"routing={routing}")
    plan = predict(made, profile_model(made, shipped(made), STRATEGIES), machine(), STRATEGIES)
    processes = [["0", "1"]] if layout == "inline" else [["0"], ["1"], ["2"]]
    assert [rank for rank, placement in plan.ranks.items() if placement.peak] == [ranks[0] for ranks in processes]
    for ranks in processes:
        peak = plan.ranks[ranks[0]].peak
        assert peak is not None
        assert peak > sum(sum(plan.memory[rank].values()) for rank in ranks)


def test_an_anchor_is_encoded_before_the_rest_is_decoded():
    whole, anchored = (
        profile_model(
            settings("stream.height=64", "stream.width=64", f"context={context}"),
            shipped(settings()),
            STRATEGIES,
        ).activation_peak
        for context in ("clean_pass", "recompute_anchor")
    )
    assert anchored["decode"] < whole["decode"], "two of three latent frames at a time"


KREA = ("model=krea_14b", "model.weights=random", "model.root=/nowhere", "layout=gpu_shared")
WHOLE = ("layout.shard.qk=false", "layout.shard.cross_attention=false")
MEASURED = {0: 14232.7, 1: 22492.1, 2: 22492.1}
"""MiB on an H100, bfloat16, 320 × 576, not compiled, 40 chunks with a new prompt and a hard cut."""


@pytest.mark.slow
def test_a_14b_models_peaks_are_those_of_a_gpu():
    made = settings(*KREA, *WHOLE)
    predicted = peaks(
        made,
        profile_model(made, generator_config(made.model), STRATEGIES),
        STRATEGIES,
        text_on_rank0=True,
    )
    assert predicted.keys() == MEASURED.keys()
    for rank, nbytes in predicted.items():
        assert nbytes / MIB == pytest.approx(MEASURED[rank], rel=0.1)
