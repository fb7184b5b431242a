"""The result: the mesh's answer, exactly one for every INFER, and the checks with which rank 0 accepts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from pp1_orchestrator.contract.envelope import VERSION, Envelope
from pp1_orchestrator.errors import ChunkError, ContractError, MeshError, PeerError

if TYPE_CHECKING:  # the rules of sizes are checked before torch is imported, which takes seconds
    from torch import Tensor

LATENTS_OUT = "latents_out"
TEXT_EMBEDS = "text_embeds"
CHUNK_ERROR_PREFIX = f"{ChunkError.__name__}: "
"""Begins the message of an error that concerns one chunk: the mesh can continue once its caches are reset."""
PEER_ERROR_PREFIX = f"{PeerError.__name__}: "
"""Begins the message of a rank that only lost a peer. The reason of the peer's end says more."""
TENSORS = frozenset({LATENTS_OUT, TEXT_EMBEDS})


class PPResultV3(msgspec.Struct, frozen=True, kw_only=True):
    """denoise_ms: this chunk's, including a rebuild of the cache. context_ms: the context pass that ran since the
    previous result. mesh_idle_ms: the leader's wait for the envelope. text_ms: the leader's time to encode text.
    """

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
    version: int = VERSION
    text_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Result:
    """A result with its tensors.

    latents_out: [1, F, z, h, w], exactly when ok. text_embeds: [N, L, text_dim], one for each prompt of the recipe, if
    the envelope asked for them.
    """

    meta: PPResultV3
    tensors: Mapping[str, Tensor] = field(default_factory=dict[str, "Tensor"])


def check_result(result: Result) -> None:
    """The sender's check. Raise ContractError if the result breaks a rule."""
    if unknown := set(result.tensors) - TENSORS:
        raise ContractError(f"call {result.meta.call_id}: unknown tensors {sorted(unknown)}")
    if result.meta.ok != (LATENTS_OUT in result.tensors):
        raise ContractError(f"call {result.meta.call_id}: {LATENTS_OUT} must be present exactly when ok")


def accept(result: Result, envelope: Envelope, current_epoch: int) -> Tensor | None:
    """The latents of the answer to `envelope`, or None if it belongs to an old epoch and must not be decoded.

    Does not check that the latents are finite: that would wait for the device.
    Raises ContractError if the result does not answer this envelope, MeshError if it reports a failure of the mesh,
    and ChunkError if it reports a failure of this chunk only.
    """
    meta, request = result.meta, envelope.meta
    plan = envelope.plan
    expected = (request.call_id, plan.chunk_index, request.cache_epoch)
    if (found := (meta.call_id, meta.chunk_index, meta.cache_epoch)) != expected:
        raise ContractError(f"result (call, chunk, epoch) {found} does not answer {expected}")
    if meta.cache_epoch != current_epoch:
        return None
    reason = " ".join(meta.error_message.split())  # one line, whatever the rank wrote
    if not meta.ok and reason.startswith(CHUNK_ERROR_PREFIX):
        raise ChunkError(reason.removeprefix(CHUNK_ERROR_PREFIX))
    if not meta.ok:
        kind = PeerError if reason.startswith(PEER_ERROR_PREFIX) else MeshError
        raise kind(f"the mesh failed at chunk {meta.chunk_index}: {reason}")
    if meta.mesh_current_start_frame != plan.current_start_frame:
        raise ContractError(
            f"chunk {meta.chunk_index}: the mesh started at frame {meta.mesh_current_start_frame}, "
            f"the envelope asked for {plan.current_start_frame}"
        )
    if meta.observed_generator_calls != plan.expected_generator_calls:
        raise ContractError(
            f"chunk {meta.chunk_index}: the mesh made {meta.observed_generator_calls} generator calls, "
            f"{plan.expected_generator_calls} were planned"
        )
    latents = result.tensors[LATENTS_OUT]
    if (shape := tuple(latents.shape)) != plan.latents_shape:
        raise ContractError(f"chunk {meta.chunk_index}: latents have shape {shape}, not {plan.latents_shape}")
    return latents
