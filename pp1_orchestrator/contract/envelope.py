"""PPEnvelopeV1: what rank 0 asks of the mesh. One planner fills it in; the mesh infers nothing.

Rules that a reader can't see in a type are in `check`, which the sender runs before the first byte and the leader
before the first collective. Shapes: F latent frames, z latent channels, h, w latent sizes, L text tokens.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import torch
from torch import Tensor

from pp1_orchestrator.errors import ContractError

ENVELOPE_VERSION = 1
SIZE_MULTIPLE = 16
"""Pixel sizes are multiples of the VAE's stride times the patch size."""
VAE_STRIDE = 8

LATENTS_IN = "latents_in"
CONDITIONING = "conditioning_embeds"
TENSORS = frozenset({LATENTS_IN, CONDITIONING})


class Action(enum.IntEnum):
    """NOOP keeps an idle mesh's watchdogs quiet; only INFER has a payload."""

    NOOP = 0
    INFER = 1
    SHUTDOWN = 2


class InferPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one chunk.

    expected_generator_calls: passes from the previous result's sending to this one's: the previous chunk's context
    pass, if it has one, plus this chunk's denoising steps.
    conditioning_epoch: rises with every change of the embedding, which travels only then.
    """

    chunk_index: int
    height: int
    width: int
    current_start_frame: int
    do_kv_recompute: bool
    clean_pass: bool
    denoising_steps: tuple[float, ...]
    expected_generator_calls: int
    init_cache: bool
    reset_kv_cache: bool
    reset_crossattn_cache: bool
    conditioning_epoch: int
    base_seed: int
    kv_cache_attention_bias: float = 1.0


class PPEnvelopeV1(msgspec.Struct, frozen=True, kw_only=True):
    """call_id rises over all actions; cache_epoch rises by one exactly when the caches are reset."""

    action: Action
    call_id: int
    cache_epoch: int
    plan: InferPlan | None = None
    version: int = ENVELOPE_VERSION


@dataclass(frozen=True, slots=True)
class Envelope:
    """An envelope with its tensors.

    latents_in: [1, F, z, h, w] float32 noise. conditioning_embeds: [1, L, text_dim], only when it changed.
    """

    meta: PPEnvelopeV1
    tensors: Mapping[str, Tensor] = field(default_factory=dict)


def _plan_problems(plan: InferPlan, tensors: Mapping[str, Tensor]) -> list[str]:
    problems = []
    if plan.height % SIZE_MULTIPLE or plan.width % SIZE_MULTIPLE:
        problems.append(f"size {plan.height}×{plan.width} is not a multiple of {SIZE_MULTIPLE}")
    if not plan.denoising_steps:
        problems.append("denoising_steps is empty")
    least = len(plan.denoising_steps) + plan.do_kv_recompute
    if not least <= plan.expected_generator_calls <= least + 1:
        problems.append(
            f"expected_generator_calls is {plan.expected_generator_calls}, the steps make {least} or one more"
        )
    if plan.reset_crossattn_cache != (CONDITIONING in tensors):
        problems.append(f"{CONDITIONING} must be present exactly when reset_crossattn_cache is set")
    if plan.init_cache and not (plan.reset_kv_cache and plan.current_start_frame == 0):
        problems.append("init_cache needs reset_kv_cache and current_start_frame 0")
    latents = tensors.get(LATENTS_IN)
    size = (plan.height // VAE_STRIDE, plan.width // VAE_STRIDE)
    if latents is None or latents.dim() != 5 or tuple(latents.shape[-2:]) != size:
        shape = None if latents is None else tuple(latents.shape)
        problems.append(f"{LATENTS_IN} must be [1, F, z, {size[0]}, {size[1]}], not {shape}")
    return problems


def check(envelope: Envelope) -> None:
    """Raise ContractError when the envelope breaks a rule. Touches no device memory."""
    meta, tensors = envelope.meta, envelope.tensors
    if meta.version != ENVELOPE_VERSION:
        raise ContractError(f"envelope version {meta.version} is unknown; this side speaks {ENVELOPE_VERSION}")
    if unknown := set(tensors) - TENSORS:
        raise ContractError(f"call {meta.call_id}: unknown tensors {sorted(unknown)}")
    if meta.action is not Action.INFER:
        if meta.plan is not None or tensors:
            raise ContractError(f"call {meta.call_id}: {meta.action.name} carries a payload")
        return
    if meta.plan is None:
        raise ContractError(f"call {meta.call_id}: INFER carries no plan")
    if problems := _plan_problems(meta.plan, tensors):
        raise ContractError(f"call {meta.call_id}, chunk {meta.plan.chunk_index}: {'; '.join(problems)}")


def require_float(tensor: Tensor, name: str) -> None:
    """Raise ContractError unless `tensor` is of a floating type."""
    if not torch.is_floating_point(tensor):
        raise ContractError(f"{name} has type {tensor.dtype}, a floating type is needed")
