"""The law of a chunk's period: how the times of the parts make the time from one chunk to the next.

Plain numbers in, plain numbers out; knows nothing of how they were found.

Bytes of each message between rank 0 and the leader, for every routing. Knows shapes; sends nothing.
"""

from __future__ import annotations

import math

import msgspec
import torch

from pp1_orchestrator.contract.wire import HEADER_FIELDS
from pp1_orchestrator.planning.requirements import Requirements
from pp1_orchestrator.planning.strategy_traits import OverlapTraits, RoutingTraits


class Phases(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of one chunk's parts on the rank that does them.

    clean_pass: after the result has left. recompute: before denoising. encode: the anchor frame's, 0 without an anchor.
    overhead: building and passing messages. decode_frames: latent frames that a decode is made of.
    *_busy: what of it keeps a core busy, for all mesh ranks together; waiting for each other and added delays are not.
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


def period_s(overlap: OverlapTraits, phases: Phases, one_process: bool, lanes: int | None) -> float:
    """Seconds from one chunk to the next in the steady state.

    one_process: the mesh's work is done by a thread of rank 0. lanes: ranks that can compute at the same time; where
    they are fewer than the ranks, no period is shorter than all the work shared out among them.
    """
    p = phases
    if one_process and not overlap.threaded:
        return p.mesh + p.decode + p.encode + p.overhead
    if not overlap.hides_decode:
        shared = (p.clean_pass_busy + p.stage0_busy) / lanes if lanes else 0.0
        hidden = max(p.clean_pass, p.decode, shared if p.clean_pass else 0.0)
        return p.recompute + p.denoise + hidden + p.encode + p.overhead
    shared = (p.mesh_busy + p.stage0_busy) / lanes if lanes else 0.0
    mesh, stage0 = p.mesh, p.decode
    if p.anchored:
        mesh += p.decode / p.decode_frames + p.encode
        stage0 += p.encode
    return max(mesh, stage0, shared) + p.overhead


class PromptLatency(msgspec.Struct, frozen=True, kw_only=True):
    """From a prompt's acceptance to the first frame made with it, at worst."""

    chunks: int
    ms: float


def prompt_latency(
    overlap: OverlapTraits, period: float, decode: float, text: float, text_on_mesh: bool
) -> PromptLatency:
    """The worst moment is just after a chunk was planned: that one is still made with the old prompt.

    text: seconds of encoding; on rank 0 it runs beside the stream and must be done when the next chunk is planned, on
    the mesh the stream waits for it.
    """
    chunks = 2 if text_on_mesh else 1 + max(1, math.ceil(text / period))
    behind = decode if overlap.hides_decode else 0.0
    return PromptLatency(chunks=chunks, ms=1e3 * (chunks * period + behind + (text if text_on_mesh else 0.0)))


ENVELOPE_META_BYTES = 450
RESULT_META_BYTES = 240
"""Metadata is MessagePack with field names; its length changes by a few bytes with the numbers in it."""
HEADER_BYTES = HEADER_FIELDS * torch.int64.itemsize


class MessageBytes(msgspec.Struct, frozen=True, kw_only=True):
    """envelope: nothing new; envelope_new_prompt: a prompt's first sight; envelope_known_prompt: one seen before.

    result_new_prompt: the answer to a prompt's first sight.
    """

    envelope: int
    envelope_new_prompt: int
    envelope_known_prompt: int
    result: int
    result_new_prompt: int


def message_bytes(
    routing: RoutingTraits, needs: Requirements, embeds_dtype: torch.dtype, prompt: str, rebuilds: bool
) -> MessageBytes:
    """rebuilds: the envelope carries a chunk's latents for the mesh to rebuild its cache from. Noise never travels:
    both sides draw it from the seed."""
    latents = needs.latent_bytes
    embeds = math.prod(needs.text) * embeds_dtype.itemsize
    sizes = {"embeds": embeds, "text": len(prompt.encode())}
    envelope = HEADER_BYTES + ENVELOPE_META_BYTES + (latents if rebuilds else 0)
    result = HEADER_BYTES + RESULT_META_BYTES + latents
    return MessageBytes(
        envelope=envelope,
        envelope_new_prompt=envelope + sizes[routing.first_sends],
        envelope_known_prompt=envelope + sizes[routing.known_sends],
        result=result,
        result_new_prompt=result + (embeds if routing.returns_embeds else 0),
    )
