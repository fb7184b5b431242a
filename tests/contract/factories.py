"""Envelopes and results for tests: valid ones, drawn by hypothesis or made to order."""

import torch
from hypothesis import strategies as st

from pp1_orchestrator.contract import Action, Envelope, PPEnvelopeV3, PPResultV3, Result
from pp1_orchestrator.contract.envelope import CONDITIONING, CONTEXT_FRAMES, INPUT_LATENTS, InferPlan, InputUse
from pp1_orchestrator.contract.result import LATENTS_OUT, TEXT_EMBEDS
from pp1_orchestrator.contract.text_recipe import TextRecipe, TextTerm

SHAPE = (1, 3, 16, 2, 4)
SIZE = {"height": 16, "width": 32}
EMBEDS = torch.arange(12, dtype=torch.float32).view(1, 3, 4)


def plan_for(**changes) -> InferPlan:
    """The plan of a stream's first chunk, with `changes`."""
    base = {
        "chunk_index": 0, **SIZE, "latents_shape": SHAPE, "current_start_frame": 0, "do_kv_recompute": False,
        "clean_pass": True, "denoising_steps": (1000.0, 500.0), "expected_generator_calls": 2, "init_cache": True,
        "reset_kv_cache": True, "reset_crossattn_cache": True, "conditioning_epoch": 1, "base_seed": 42,
    }  # fmt: skip
    return InferPlan(**base | changes)


def envelope_for_plan(plan: InferPlan | None = None, tensors=None, call_id: int = 1, epoch: int = 0) -> Envelope:
    plan = plan_for() if plan is None else plan
    meta = PPEnvelopeV3(action=Action.INFER, call_id=call_id, cache_epoch=epoch, plan=plan)
    return Envelope(meta, {CONDITIONING: EMBEDS} if tensors is None else tensors)


def result_for_call(call_id: int = 1, **changes) -> Result:
    base = {"call_id": call_id, "chunk_index": 0, "cache_epoch": 0, "ok": True, "observed_generator_calls": 2}
    meta = PPResultV3(**base | changes)
    return Result(meta, {LATENTS_OUT: torch.zeros(SHAPE)} if meta.ok else {})


texts = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=30).filter(str.strip)
methods = st.sampled_from(["linear", "slerp"])


@st.composite
def recipes(draw) -> TextRecipe:
    blend = draw(methods)
    count = 2 if blend == "slerp" else draw(st.integers(1, 8))
    terms = tuple(TextTerm(draw(texts), draw(st.floats(0, 10))) for _ in range(count))
    source = draw(st.none() | st.integers(1, 1000))
    fraction = 1.0 if source is None else draw(st.floats(0, 1))
    return TextRecipe(terms=terms, blend=blend, source_epoch=source, fraction=fraction, method=draw(methods))


@st.composite
def envelopes(draw) -> Envelope:
    """Any envelope that the contract allows."""
    action = draw(st.sampled_from(list(Action)))
    call_id, epoch = draw(st.integers(1, 2**40)), draw(st.integers(0, 1000))
    if action is not Action.INFER:
        return Envelope(PPEnvelopeV3(action=action, call_id=call_id, cache_epoch=epoch))
    tensors, changes = {}, {"chunk_index": draw(st.integers(0, 10**6)), "base_seed": draw(st.integers(0, 2**31 - 1))}
    frame = draw(st.integers(0, 5)) * 3
    first = frame == 0
    changes |= {"current_start_frame": frame, "init_cache": first, "reset_kv_cache": first}
    conditioning = draw(st.sampled_from(["keep", "tensor", "recipe"]))
    changes["reset_crossattn_cache"] = conditioning != "keep"
    if conditioning == "tensor":
        tensors[CONDITIONING] = draw(st.sampled_from([EMBEDS, EMBEDS.bfloat16()]))
    if conditioning == "recipe":
        changes |= {"recipe": draw(recipes()), "return_embeds": draw(st.booleans())}
    passes = draw(st.integers(0, frame // 3))
    if passes:
        tensors[CONTEXT_FRAMES] = torch.randn(1, 3 * passes, *SHAPE[2:])
    changes |= {"do_kv_recompute": bool(passes), "expected_generator_calls": 2 + passes + draw(st.integers(0, 1))}
    if draw(st.booleans()):
        changes["input"] = InputUse(noise_level=draw(st.floats(0, 1)), history=draw(st.booleans()))
        tensors[INPUT_LATENTS] = torch.randn(SHAPE)
    if first and draw(st.booleans()):
        changes["caption"] = draw(st.text(st.characters(exclude_categories=("Cs",)), max_size=30))
    changes["kv_cache_attention_bias"] = draw(st.floats(0.01, 1))
    return envelope_for_plan(plan_for(**changes), tensors, call_id, epoch)


@st.composite
def results(draw) -> Result:
    """Any result that the contract allows."""
    ok = draw(st.booleans())
    result = result_for_call(
        draw(st.integers(1, 2**40)), ok=ok, error_message=draw(texts), text_ms=draw(st.floats(0, 1e3))
    )
    embeds = {TEXT_EMBEDS: torch.randn(2, 3, 4)} if ok and draw(st.booleans()) else {}
    return Result(result.meta, {**result.tensors, **embeds})
