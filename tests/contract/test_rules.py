"""The rules of the contract: what an envelope may say, in which order a result is accepted, which version is spoken."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pp1_orchestrator.contract import Action, Envelope, PPEnvelopeV2, Result, wire
from pp1_orchestrator.contract import envelope as env
from pp1_orchestrator.contract.envelope import CONDITIONING, CONTEXT_FRAMES, LATENTS_IN
from pp1_orchestrator.contract.result import LATENTS_OUT, TEXT_EMBEDS, accept
from pp1_orchestrator.contract.text import TextRecipe, TextTerm
from pp1_orchestrator.contract.versions import VERSIONS, negotiate
from pp1_orchestrator.errors import ContractError, MeshError

from .messages_made import EMBEDS, SHAPE, envelope_for_plan, plan_for, result_for_call
from .test_wire import travel

FOUR, NINE = torch.zeros(1, 4, 16, 2, 4), torch.zeros(1, 9, 16, 2, 4)
LATER = {"init_cache": False, "reset_kv_cache": False, "current_start_frame": 6}
RECIPE = TextRecipe(terms=(TextTerm("a red circle"),))


@pytest.mark.parametrize(
    ("changes", "tensors", "words"),
    [
        ({"height": 100}, {CONDITIONING: EMBEDS}, "multiple of 16"),
        ({"latents_shape": (1, 3, 16, 2, 2)}, {CONDITIONING: EMBEDS}, "latents_shape"),
        ({}, {CONDITIONING: EMBEDS, LATENTS_IN: torch.zeros(1, 2, 16, 2, 4)}, LATENTS_IN),
        ({}, {}, "exactly when reset_crossattn_cache"),
        ({"recipe": RECIPE}, {CONDITIONING: EMBEDS}, "exactly when reset_crossattn_cache"),
        ({"return_embeds": True}, {CONDITIONING: EMBEDS}, "needs a recipe"),
        ({"recipe": TextRecipe(terms=())}, {}, "1 to 8"),
        ({"recipe": TextRecipe(terms=(TextTerm("a", -1.0),))}, {}, "not negative"),
        ({"recipe": TextRecipe(terms=(TextTerm("a"),), fraction=0.5)}, {}, "fraction"),
        ({"recipe": TextRecipe(terms=(TextTerm("a"),) * 3, blend="slerp")}, {}, "slerp"),
        ({"denoising_steps": ()}, {CONDITIONING: EMBEDS}, "denoising_steps"),
        ({"expected_generator_calls": 4}, {CONDITIONING: EMBEDS}, "expected_generator_calls"),
        ({"do_kv_recompute": True}, {CONDITIONING: EMBEDS}, CONTEXT_FRAMES),
        (LATER, {CONDITIONING: EMBEDS, CONTEXT_FRAMES: torch.zeros(SHAPE)}, CONTEXT_FRAMES),
        (
            LATER | {"do_kv_recompute": True},
            {CONDITIONING: EMBEDS, CONTEXT_FRAMES: FOUR},
            "whole",
        ),
        (
            LATER | {"do_kv_recompute": True},
            {CONDITIONING: EMBEDS, CONTEXT_FRAMES: NINE},
            "whole",
        ),
        ({"init_cache": True, "reset_kv_cache": False}, {CONDITIONING: EMBEDS}, "init_cache"),
        ({"kv_cache_attention_bias": 0.0}, {CONDITIONING: EMBEDS}, "bias"),
        ({}, {CONDITIONING: EMBEDS, "surprise": EMBEDS}, "surprise"),
    ],
)
def test_an_envelope_that_breaks_a_rule_is_never_sent(changes, tensors, words):
    with pytest.raises(ContractError, match=words):
        wire.pack_envelope(envelope_for_plan(plan_for(**changes), tensors))


def test_only_infer_carries_a_payload():
    meta = PPEnvelopeV2(action=Action.NOOP, call_id=1, cache_epoch=0, plan=plan_for())
    with pytest.raises(ContractError, match="NOOP carries a payload"):
        env.check(Envelope(meta))
    with pytest.raises(ContractError, match="INFER carries no plan"):
        env.check(Envelope(PPEnvelopeV2(action=Action.INFER, call_id=1, cache_epoch=0)))


def test_a_result_is_accepted_only_as_the_answer_to_its_envelope():
    latents = accept(result_for_call(), envelope_for_plan(), 0)
    assert latents is not None
    assert torch.equal(latents, torch.zeros(SHAPE))
    for changes in ({"chunk_index": 1}, {"cache_epoch": 1}):
        with pytest.raises(ContractError, match="does not answer"):
            accept(result_for_call(**changes), envelope_for_plan(), 0)
    with pytest.raises(ContractError, match="does not answer"):
        accept(result_for_call(call_id=2), envelope_for_plan(), 0)


def test_an_old_epochs_result_is_dropped_before_anything_else_is_looked_at():
    assert accept(result_for_call(ok=False, error_message="late"), envelope_for_plan(), 1) is None


def test_a_failure_a_wrong_count_a_wrong_frame_and_a_wrong_shape_are_refused():
    with pytest.raises(MeshError, match="out of memory"):
        accept(result_for_call(ok=False, error_message="out of memory"), envelope_for_plan(), 0)
    with pytest.raises(ContractError, match="made 3 generator calls, 2 were planned"):
        accept(result_for_call(observed_generator_calls=3), envelope_for_plan(), 0)
    result = result_for_call()
    with pytest.raises(ContractError, match="shape"):
        accept(Result(result.meta, {LATENTS_OUT: torch.zeros(1, 2)}), envelope_for_plan(), 0)
    with pytest.raises(ContractError, match="made frame 3 and on, 0 was asked for"):
        accept(result_for_call(mesh_current_start_frame=3), envelope_for_plan(), 0)


def test_the_newest_common_version_is_spoken():
    assert negotiate({0: (1, 2), 1: (1, 2), 2: (1, 2, 3)}, 1, "routing=rank0_encoder") == 2
    assert negotiate({0: (1, 2), 1: (1,)}, 1, "routing=rank0_encoder") == 1


def test_a_peer_that_is_too_old_is_refused_by_name():
    words = "rank 1 speaks contract version 1; routing=mesh_encoder needs 2 or newer"
    with pytest.raises(ContractError, match=words):
        negotiate({0: (1, 2), 1: (1,)}, 2, "routing=mesh_encoder")
    with pytest.raises(ContractError, match="in common"):
        negotiate({0: (1,), 1: (2,)}, 1, "routing=rank0_encoder")


@given(
    st.dictionaries(st.integers(0, 8), st.sets(st.integers(1, 4), min_size=1).map(tuple), min_size=1), st.integers(1, 4)
)
def test_what_is_agreed_is_spoken_by_all_and_new_enough(spoken, needed):
    try:
        version = negotiate(spoken, needed, "this")
    except ContractError:
        return
    assert version >= needed
    assert all(version in versions for versions in spoken.values())


def test_version_1_carries_noise_and_embedding_and_nothing_newer():
    tensors = {CONDITIONING: EMBEDS, LATENTS_IN: torch.ones(SHAPE)}
    envelope = envelope_for_plan(tensors=tensors)
    back = travel(wire.pack_envelope(envelope, version=1))
    assert back.meta == envelope.meta  # read as the newest version
    for plan, kept in (
        (plan_for(recipe=RECIPE), {LATENTS_IN: torch.ones(SHAPE)}),
        (plan_for(), {CONDITIONING: EMBEDS}),
    ):
        with pytest.raises(ContractError, match="contract version 1 carries"):
            wire.pack_envelope(envelope_for_plan(plan, kept), version=1)
    result = result_for_call()
    assert travel(wire.pack_result(result, version=1)).meta == result.meta
    with pytest.raises(ContractError, match="no embeddings"):
        wire.pack_result(Result(result.meta, {**result.tensors, TEXT_EMBEDS: EMBEDS}), version=1)


def test_every_version_that_is_spoken_has_its_types():
    for version in VERSIONS:
        tensors = {CONDITIONING: EMBEDS, LATENTS_IN: torch.ones(SHAPE)}
        parcel = wire.pack_envelope(envelope_for_plan(tensors=tensors), version=version)
        assert wire.read_header(parcel.header).version == version
