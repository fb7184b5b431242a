"""The mesh's answer, exactly one for every INFER, and the order in which rank 0 accepts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
from torch import Tensor

from pp1_orchestrator.contract.envelope import VERSION, Envelope
from pp1_orchestrator.errors import ChunkError, ContractError, MeshError, PeerError

LATENTS_OUT = "latents_out"
TEXT_EMBEDS = "text_embeds"
GOES_ON = f"{ChunkError.__name__}: "
"""An error that begins so is one chunk's: the mesh is as good as before, once its caches are reset."""
MISSES = f"{PeerError.__name__}: "
"""A rank that only misses another one has no reason of its own: how that one ended says more."""
TENSORS = frozenset({LATENTS_OUT, TEXT_EMBEDS})


class PPResultV2(msgspec.Struct, frozen=True, kw_only=True):
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
    """A result with its tensors: latents_out [1, F, z, h, w], present exactly when ok; text_embeds [N, L, text_dim],
    one for each of the recipe's prompts, when they were asked for."""

    meta: PPResultV2
    tensors: Mapping[str, Tensor] = field(default_factory=dict)


def check_result(result: Result) -> None:
    """The sender's check: raise ContractError when the result breaks a rule of its own."""
    if unknown := set(result.tensors) - TENSORS:
        raise ContractError(f"call {result.meta.call_id}: unknown tensors {sorted(unknown)}")
    if result.meta.ok != (LATENTS_OUT in result.tensors):
        raise ContractError(f"call {result.meta.call_id}: {LATENTS_OUT} must be present exactly when ok")


def accept(result: Result, envelope: Envelope, current_epoch: int) -> Tensor | None:
    """The latents of an answer to `envelope`, or None when it belongs to an old epoch and must not be decoded.

    Whether they are finite is not looked at: a device would have to be waited for.
    Raises ContractError for an answer that can't be this envelope's, MeshError for one that reports a failure, and
    ChunkError where the mesh goes on after it.
    """
    meta, asked = result.meta, envelope.meta
    plan = envelope.plan
    expected = (asked.call_id, plan.chunk_index, asked.cache_epoch)
    if (meta.call_id, meta.chunk_index, meta.cache_epoch) != expected:
        found = (meta.call_id, meta.chunk_index, meta.cache_epoch)
        raise ContractError(f"result (call, chunk, epoch) {found} does not answer {expected}")
    if meta.cache_epoch != current_epoch:
        return None
    if not meta.ok and meta.error_message.startswith(GOES_ON):
        raise ChunkError(meta.error_message.removeprefix(GOES_ON))
    if not meta.ok:
        kind = PeerError if meta.error_message.startswith(MISSES) else MeshError
        raise kind(f"the mesh failed at chunk {meta.chunk_index}: {meta.error_message}")
    if meta.mesh_current_start_frame != plan.current_start_frame:
        raise ContractError(
            f"chunk {meta.chunk_index}: the mesh made frame {meta.mesh_current_start_frame} and on, "
            f"{plan.current_start_frame} was asked for"
        )
    if meta.observed_generator_calls != plan.expected_generator_calls:
        raise ContractError(
            f"chunk {meta.chunk_index}: the mesh made {meta.observed_generator_calls} generator calls, "
            f"{plan.expected_generator_calls} were planned"
        )
    latents = result.tensors[LATENTS_OUT]
    if tuple(latents.shape) != plan.latents_shape:
        raise ContractError(f"chunk {meta.chunk_index}: latents of shape {tuple(latents.shape)} came back")
    return latents
