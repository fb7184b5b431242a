"""Between versions of the contract: what each side speaks, which version both use, and the older forms of a message.

The program works with the newest types; an older version exists on the wire only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from torch import Tensor

from pp1_orchestrator.contract.envelope import (
    ENVELOPE_VERSIONS,
    LATENTS_IN,
    Envelope,
    InferPlan,
    InferPlanV1,
    PPEnvelopeV1,
    PPEnvelopeV2,
)
from pp1_orchestrator.contract.result import LATENTS_OUT, RESULT_VERSIONS, PPResultV1, PPResultV2, Result
from pp1_orchestrator.errors import ContractError

ENVELOPE, RESULT = 1, 2
"""Kinds of messages."""
VERSIONS = tuple(sorted(set(ENVELOPE_VERSIONS) & set(RESULT_VERSIONS)))
"""Versions of the contract that this side speaks; envelope and result change together."""
LATEST = VERSIONS[-1]
TYPES: Mapping[tuple[int, int], type[msgspec.Struct]] = {
    (ENVELOPE, 1): PPEnvelopeV1,
    (ENVELOPE, 2): PPEnvelopeV2,
    (RESULT, 1): PPResultV1,
    (RESULT, 2): PPResultV2,
}


def negotiate(spoken: Mapping[int, tuple[int, ...]], needed: int, reason: str) -> int:
    """The newest version that every rank speaks. spoken: versions by rank; needed: the oldest that will do.

    Raises ContractError naming the rank that is too old and what needs more of it.
    """
    for rank, versions in sorted(spoken.items()):
        if not any(version >= needed for version in versions):
            raise ContractError(
                f"rank {rank} speaks contract version {', '.join(map(str, versions))}; {reason} needs {needed} or newer"
            )
    common = set.intersection(*(set(versions) for versions in spoken.values()))
    usable = [version for version in common if version >= needed]
    if not usable:
        raise ContractError(f"the ranks have no contract version in common: {dict(sorted(spoken.items()))}")
    return max(usable)


def envelope_for(envelope: Envelope, version: int) -> PPEnvelopeV1 | PPEnvelopeV2:
    """An envelope's metadata in a version's form. Raises ContractError when that version can't say it."""
    meta = envelope.meta
    if version == LATEST:
        return meta
    if meta.plan is None:
        return PPEnvelopeV1(action=meta.action, call_id=meta.call_id, cache_epoch=meta.cache_epoch)
    if meta.plan.recipe is not None or LATENTS_IN not in envelope.tensors:
        raise ContractError(f"call {meta.call_id}: contract version {version} carries neither text nor seeded noise")
    plan = InferPlanV1(**_fields(meta.plan, InferPlanV1))
    return PPEnvelopeV1(action=meta.action, call_id=meta.call_id, cache_epoch=meta.cache_epoch, plan=plan)


def result_for(result: Result, version: int) -> PPResultV1 | PPResultV2:
    """A result's metadata in a version's form. Raises ContractError when that version can't say it."""
    if version == LATEST:
        return result.meta
    if set(result.tensors) - {LATENTS_OUT}:
        raise ContractError(f"call {result.meta.call_id}: contract version {version} brings no embeddings back")
    return PPResultV1(**{**_fields(result.meta, PPResultV1), "version": 1})


def newest(meta: Any, tensors: Mapping[str, Tensor]) -> PPEnvelopeV2 | PPResultV2:
    """A received message's metadata in the newest form."""
    if isinstance(meta, PPEnvelopeV2 | PPResultV2):
        return meta
    if isinstance(meta, PPResultV1):
        return PPResultV2(**{**_fields(meta, PPResultV1), "version": LATEST})
    assert isinstance(meta, PPEnvelopeV1)
    plan = None
    if meta.plan is not None:
        noise = tensors.get(LATENTS_IN)
        if noise is None or noise.dim() != 5:
            raise ContractError(f"call {meta.call_id}: contract version 1 needs {LATENTS_IN} [1, F, z, h, w]")
        one, frames, channels, height, width = noise.shape
        shape = (one, frames, channels, height, width)
        plan = InferPlan(**_fields(meta.plan, InferPlanV1), latents_shape=shape)
    return PPEnvelopeV2(action=meta.action, call_id=meta.call_id, cache_epoch=meta.cache_epoch, plan=plan)


def _fields(value: msgspec.Struct, kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {name: getattr(value, name) for name in kind.__struct_fields__}
