"""The rules of the contract: what an envelope may say, and in which order a result is accepted."""

import pytest
import torch

from pp1_orchestrator.contract import Action, Envelope, PPEnvelopeV3, Result, wire
from pp1_orchestrator.contract import envelope as env
from pp1_orchestrator.contract.envelope import CAPTION, CONDITIONING, CONTEXT_FRAMES, INPUT_LATENTS, InputUse
from pp1_orchestrator.contract.result import CHUNK_ERROR_PREFIX, LATENTS_OUT, accept
from pp1_orchestrator.contract.text_recipe import TextRecipe, TextTerm
from pp1_orchestrator.errors import ChunkError, ContractError, MeshError
from tests.contract.factories import EMBEDS, SHAPE, envelope_for_plan, plan_for, result_for_call

FOUR, NINE = torch.zeros(1, 4, 16, 2, 4), torch.zeros(1, 9, 16, 2, 4)
LATER = {"init_cache": False, "reset_kv_cache": False, "current_start_frame": 6}
RECIPE = TextRecipe(terms=(TextTerm("a red circle"),))


@pytest.mark.parametrize(
    ("changes", "tensors", "words"),
    [
        ({"height": 100}, {CONDITIONING: EMBEDS}, "multiple of 16"),
        ({"latents_shape": (1, 3, 16, 2, 2)}, {CONDITIONING: EMBEDS}, "latents_shape"),
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
        (
            {"do_kv_recompute": True, "expected_generator_calls": 3},
            {CONDITIONING: EMBEDS, CONTEXT_FRAMES: torch.zeros(SHAPE)},
            "init_cache needs reset_kv_cache and current_start_frame 3",
        ),
        ({"input": InputUse(noise_level=0.5)}, {CONDITIONING: EMBEDS}, "exactly when input is set"),
        ({}, {CONDITIONING: EMBEDS, INPUT_LATENTS: torch.zeros(SHAPE)}, "exactly when input is set"),
        ({"input": InputUse(noise_level=0.5)}, {CONDITIONING: EMBEDS, INPUT_LATENTS: FOUR}, "not of latents_shape"),
        (
            {"input": InputUse(noise_level=1.5)},
            {CONDITIONING: EMBEDS, INPUT_LATENTS: torch.zeros(SHAPE)},
            "input.noise_level is 1.5",
        ),
        ({"caption": "a"}, {CONDITIONING: EMBEDS, CAPTION: EMBEDS}, "not both"),
        (LATER | {"caption": "a"}, {CONDITIONING: EMBEDS}, "needs reset_kv_cache"),
        ({"caption": "a" * 2001}, {CONDITIONING: EMBEDS}, "2001 characters"),
        ({"kv_cache_attention_bias": 0.0}, {CONDITIONING: EMBEDS}, "bias"),
        ({}, {CONDITIONING: EMBEDS, "surprise": EMBEDS}, "surprise"),
    ],
)
def test_an_envelope_that_breaks_a_rule_is_never_sent(changes, tensors, words):
    with pytest.raises(ContractError, match=words):
        wire.pack_envelope(envelope_for_plan(plan_for(**changes), tensors))


def test_an_epoch_may_begin_after_latents_that_no_chunk_has_made():
    changes = {"do_kv_recompute": True, "expected_generator_calls": 3, "current_start_frame": 3}
    env.check(envelope_for_plan(plan_for(**changes), {CONDITIONING: EMBEDS, CONTEXT_FRAMES: torch.zeros(SHAPE)}))


def test_only_infer_carries_a_payload():
    meta = PPEnvelopeV3(action=Action.NOOP, call_id=1, cache_epoch=0, plan=plan_for())
    with pytest.raises(ContractError, match="NOOP carries a payload"):
        env.check(Envelope(meta))
    with pytest.raises(ContractError, match="INFER carries no plan"):
        env.check(Envelope(PPEnvelopeV3(action=Action.INFER, call_id=1, cache_epoch=0)))


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


@pytest.mark.parametrize(("kind", "prefix"), [(MeshError, ""), (ChunkError, CHUNK_ERROR_PREFIX)])
def test_a_ranks_text_becomes_one_line(kind, prefix):
    answer = result_for_call(ok=False, error_message=f"{prefix}first\nsecond\x0c  third\x85")
    with pytest.raises(kind) as caught:
        accept(answer, envelope_for_plan(), 0)
    assert str(caught.value).endswith("first second third")
    assert len(str(caught.value).splitlines()) == 1


def test_a_failure_a_wrong_count_a_wrong_frame_and_a_wrong_shape_are_refused():
    with pytest.raises(MeshError, match="out of memory"):
        accept(result_for_call(ok=False, error_message="out of memory"), envelope_for_plan(), 0)
    with pytest.raises(ContractError, match="made 3 generator calls, 2 were planned"):
        accept(result_for_call(observed_generator_calls=3), envelope_for_plan(), 0)
    result = result_for_call()
    with pytest.raises(ContractError, match="shape"):
        accept(Result(result.meta, {LATENTS_OUT: torch.zeros(1, 2)}), envelope_for_plan(), 0)
    with pytest.raises(ContractError, match="started at frame 3, the envelope asked for 0"):
        accept(result_for_call(mesh_current_start_frame=3), envelope_for_plan(), 0)
