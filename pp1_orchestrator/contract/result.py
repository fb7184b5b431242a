"""PPResultV1: the mesh's answer, exactly one for every INFER, and the order in which rank 0 accepts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import torch
from torch import Tensor

from pp1_orchestrator.contract.envelope import LATENTS_IN, Envelope
from pp1_orchestrator.errors import ContractError, MeshError

RESULT_VERSION = 1
LATENTS_OUT = "latents_out"


class PPResultV1(msgspec.Struct, frozen=True, kw_only=True):
    """denoise_ms is this chunk's, context_ms the context pass that ran since the previous result, mesh_idle_ms the
    leader's wait for the envelope."""

    call_id: int
    chunk_index: int
    cache_epoch: int
    ok: bool
    error_message: str = ""
    observed_generator_calls: int = 0
    mesh_current_start_frame: int = 0
    denoise_ms: float = 0.0
    context_ms: float = 0.0
    mesh_idle_ms: float = 0.0
    version: int = RESULT_VERSION


@dataclass(frozen=True, slots=True)
class Result:
    """A result with its tensor: latents_out [1, F, z, h, w], present exactly when ok."""

    meta: PPResultV1
    tensors: Mapping[str, Tensor] = field(default_factory=dict)


def check_result(result: Result) -> None:
    """The sender's check: raise ContractError when the result breaks a rule of its own."""
    if result.meta.ok != (LATENTS_OUT in result.tensors):
        raise ContractError(f"call {result.meta.call_id}: {LATENTS_OUT} must be present exactly when ok")


def accept(result: Result, envelope: Envelope, current_epoch: int) -> Tensor | None:
    """The latents of an answer to `envelope`, or None when it belongs to an old epoch and must not be decoded.

    Raises ContractError for an answer that can't be this envelope's, MeshError for one that reports a failure.
    """
    meta, asked = result.meta, envelope.meta
    if meta.version != RESULT_VERSION:
        raise ContractError(f"result version {meta.version} is unknown; this side speaks {RESULT_VERSION}")
    assert asked.plan is not None
    expected = (asked.call_id, asked.plan.chunk_index, asked.cache_epoch)
    if (meta.call_id, meta.chunk_index, meta.cache_epoch) != expected:
        found = (meta.call_id, meta.chunk_index, meta.cache_epoch)
        raise ContractError(f"result (call, chunk, epoch) {found} does not answer {expected}")
    if meta.cache_epoch != current_epoch:
        return None
    if not meta.ok:
        raise MeshError(f"the mesh failed at chunk {meta.chunk_index}: {meta.error_message}")
    if meta.observed_generator_calls != asked.plan.expected_generator_calls:
        raise ContractError(
            f"chunk {meta.chunk_index}: the mesh made {meta.observed_generator_calls} generator calls, "
            f"{asked.plan.expected_generator_calls} were planned"
        )
    latents = result.tensors[LATENTS_OUT]
    if latents.shape != envelope.tensors[LATENTS_IN].shape:
        raise ContractError(f"chunk {meta.chunk_index}: latents of shape {tuple(latents.shape)} came back")
    if not bool(torch.isfinite(latents).all()):
        raise MeshError(f"chunk {meta.chunk_index}: the mesh sent latents that are not finite")
    return latents
