"""Predicts a chunk's period, a prompt's latency and the bytes on the wire.

Plain numbers in, plain numbers out. Knows nothing of how they were measured. A strategy comes as a few facts about it,
never by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import torch

from pp1_orchestrator.contract.wire import HEADER_FIELDS
from pp1_orchestrator.planning.requirements import Requirements

ENVELOPE_META_BYTES = 450
RESULT_META_BYTES = 240
"""Metadata is MessagePack with field names; its length varies by a few bytes with the numbers in it."""
HEADER_BYTES = HEADER_FIELDS * torch.int64.itemsize


@dataclass(frozen=True, slots=True)
class OverlapFacts:
    """An overlap strategy as the cost model sees it.

    Args:
        submits_ahead: the mesh generates chunk N+1 while chunk N is decoded; otherwise only the clean pass overlaps.
        has_thread: decoding also overlaps with a mesh in the same process.
    """

    submits_ahead: bool
    has_thread: bool


@dataclass(frozen=True, slots=True)
class RoutingFacts:
    """A routing strategy as the cost model sees it.

    Args:
        encodes_on_rank0: rank 0 has the text encoder and sends embeddings; otherwise the leader gets the prompt's text.
        caches_embeds: the leader returns a new prompt's embedding, and rank 0 sends that from then on.
    """

    encodes_on_rank0: bool
    caches_embeds: bool


@dataclass(frozen=True, slots=True)
class ContextFacts:
    """A context strategy as the cost model sees it.

    Args:
        clean_pass: one more pass follows each chunk, after its result has left.
        rebuilds: the mesh rebuilds its cache before a chunk, from latents in the envelope.
        needs_pixels: the rebuild needs a decoded frame of the previous chunk, encoded again.
    """

    clean_pass: bool
    rebuilds: bool
    needs_pixels: bool


@dataclass(frozen=True, slots=True)
class Strategies:
    """All overlaps and routings by name, in order of preference, and the context that was chosen."""

    overlaps: Mapping[str, OverlapFacts]
    routings: Mapping[str, RoutingFacts]
    context: ContextFacts


class Phases(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of one chunk's phases, each on the rank that does it.

    Args:
        clean_pass: after the result has left.
        recompute: before denoising.
        encode: of the anchor frame; 0 without an anchor.
        overhead: building and passing messages.
        decode_frames: latent frames of a decode.
        anchored: the next envelope waits for the decode and the encode of one frame.
        mesh_busy: core seconds of all mesh ranks together, without waits and added delays.
        clean_pass_busy: the clean pass's part of them.
        stage0_busy: core seconds of rank 0.
    """

    denoise: float
    clean_pass: float = 0.0
    recompute: float = 0.0
    decode: float = 0.0
    encode: float = 0.0
    overhead: float = 0.0
    decode_frames: int = 3
    anchored: bool = False
    mesh_busy: float = 0.0
    clean_pass_busy: float = 0.0
    stage0_busy: float = 0.0

    @property
    def mesh(self) -> float:
        """All that the mesh must do before the next result."""
        return self.recompute + self.denoise + self.clean_pass


def period_s(overlap: OverlapFacts, phases: Phases, one_process: bool, parallel_ranks: int | None) -> float:
    """Seconds from one chunk to the next in the steady state.

    Args:
        one_process: a thread of rank 0 does the mesh's work.
        parallel_ranks: how many ranks can compute at the same time. Where that is fewer than there are ranks, no period
            is shorter than all the work divided by it. None: no limit.
    """
    p = phases
    if one_process and not overlap.has_thread:
        return p.mesh + p.decode + p.encode + p.overhead
    if not overlap.submits_ahead:
        shared = (p.clean_pass_busy + p.stage0_busy) / parallel_ranks if parallel_ranks else 0.0
        hidden = max(p.clean_pass, p.decode, shared if p.clean_pass else 0.0)
        return p.recompute + p.denoise + hidden + p.encode + p.overhead
    shared = (p.mesh_busy + p.stage0_busy) / parallel_ranks if parallel_ranks else 0.0
    mesh, stage0 = p.mesh, p.decode
    if p.anchored:
        mesh += p.decode / p.decode_frames + p.encode
        stage0 += p.encode
    return max(mesh, stage0, shared) + p.overhead


class PromptLatency(msgspec.Struct, frozen=True, kw_only=True):
    """The longest time from a prompt's acceptance to the first frame made with it."""

    chunks: int
    ms: float


def prompt_latency(overlap: OverlapFacts, period: float, decode: float, text: float, stalls: bool) -> PromptLatency:
    """The worst case is a prompt that comes just after a chunk was planned: that chunk still has the old prompt.

    Args:
        period, decode: seconds of a chunk.
        text: seconds to encode a prompt.
        stalls: the stream waits while the mesh encodes. Otherwise rank 0 encodes beside the stream, and must have
            finished when the next chunk is planned.
    """
    chunks = 2 if stalls else 1 + max(1, math.ceil(text / period))
    last_decode = decode if overlap.submits_ahead else 0.0
    return PromptLatency(chunks=chunks, ms=1e3 * (chunks * period + last_decode + (text if stalls else 0.0)))


class MessageBytes(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of each message between rank 0 and the leader.

    Args:
        envelope: without a new conditioning.
        envelope_new_prompt: with a prompt that the mesh gets for the first time.
        envelope_known_prompt: with a prompt that was used before.
        result: without an embedding.
        result_new_prompt: the answer to a prompt that the mesh got for the first time.
    """

    envelope: int
    envelope_new_prompt: int
    envelope_known_prompt: int
    result: int
    result_new_prompt: int


def message_bytes(
    routing: RoutingFacts, needs: Requirements, embeds_dtype: torch.dtype, prompt: str, rebuilds: bool
) -> MessageBytes:
    """rebuilds: the envelope carries a chunk's latents. Noise never travels: both sides draw it from the seed."""
    latents, text = needs.latent_bytes, len(prompt.encode())
    embeds = math.prod(needs.text) * embeds_dtype.itemsize
    envelope = HEADER_BYTES + ENVELOPE_META_BYTES + (latents if rebuilds else 0)
    result = HEADER_BYTES + RESULT_META_BYTES + latents
    return MessageBytes(
        envelope=envelope,
        envelope_new_prompt=envelope + (embeds if routing.encodes_on_rank0 else text),
        envelope_known_prompt=envelope + (embeds if routing.encodes_on_rank0 or routing.caches_embeds else text),
        result=result,
        result_new_prompt=result + (embeds if routing.caches_embeds else 0),
    )
