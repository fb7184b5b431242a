"""Predicts a chunk's period, a prompt's latency and the bytes on the wire.

Plain numbers in, plain numbers out. Knows nothing of how they were measured, and strategies by their traits only.
"""

import math

import msgspec
import torch

from pp1_orchestrator.contract.wire import HEADER_FIELDS
from pp1_orchestrator.planning.inputs_outputs import Requirements
from pp1_orchestrator.planning.strategy_traits import OverlapTraits, RoutingTraits

ENVELOPE_META_BYTES = 450
RESULT_META_BYTES = 240
"""Metadata is MessagePack with field names; its length varies by a few bytes with the numbers in it."""
HEADER_BYTES = HEADER_FIELDS * torch.int64.itemsize


class Phases(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of one chunk's phases, each on the rank that does it.

    clean_pass follows the result, recompute comes before denoising. overhead: of messages. decode_frames: latent frames
    of a decode. anchored: the next envelope waits until one frame is decoded and encoded. one_gpu: rank 0 shares one
    with a mesh rank. The busy times are of all mesh ranks together and of rank 0, without waits and added delays.
    """

    denoise: float
    clean_pass: float = 0.0
    recompute: float = 0.0
    decode: float = 0.0
    encode: float = 0.0
    overhead: float = 0.0
    decode_frames: int = 3
    anchored: bool = False
    one_gpu: bool = False
    mesh_busy: float = 0.0
    clean_pass_busy: float = 0.0
    stage0_busy: float = 0.0

    @property
    def mesh(self) -> float:
        """All that the mesh must do before the next result."""
        return self.recompute + self.denoise + self.clean_pass


def period_s(overlap: OverlapTraits, phases: Phases, one_process: bool, parallel_ranks: int | None) -> float:
    """Seconds from one chunk to the next in the steady state. one_process: a thread of rank 0 does the mesh's work.

    parallel_ranks: how many can compute at the same time; None: all. All the work divided by it is the least period.
    """
    p = phases
    if one_process and not overlap.threaded:
        return p.mesh + p.decode + p.encode + p.overhead
    if not overlap.hides_decode:
        shared = (p.clean_pass_busy + p.stage0_busy) / parallel_ranks if parallel_ranks else 0.0
        hidden = max(p.clean_pass, p.decode, shared if p.clean_pass else 0.0)
        return p.recompute + p.denoise + hidden + p.encode + p.overhead
    shared = (p.mesh_busy + p.stage0_busy) / parallel_ranks if parallel_ranks else 0.0
    if p.one_gpu:
        shared = max(shared, p.mesh + p.decode + p.encode)
    mesh, stage0 = p.mesh, p.decode
    if p.anchored:
        mesh += p.decode / p.decode_frames + p.encode
        stage0 += p.encode
    return max(mesh, stage0, shared) + p.overhead


class PromptLatency(msgspec.Struct, frozen=True, kw_only=True):
    """The longest time from a prompt's acceptance to the first frame made with it."""

    chunks: int
    ms: float


def prompt_latency(overlap: OverlapTraits, period: float, decode: float, text: float, stalls: bool) -> PromptLatency:
    """The worst case is a prompt that comes just after a chunk was planned: that chunk still has the old prompt.

    period, decode, text: seconds of a chunk, and to encode a prompt. stalls: the stream waits while the mesh encodes.
    Otherwise rank 0 encodes beside the stream, and must have finished when the next chunk is planned.
    """
    chunks = 2 if stalls else 1 + max(1, math.ceil(text / period))
    last_decode = decode if overlap.hides_decode else 0.0
    return PromptLatency(chunks=chunks, ms=1e3 * (chunks * period + last_decode + (text if stalls else 0.0)))


class MessageBytes(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of each message between rank 0 and the leader. A new prompt is one that the mesh has not had before."""

    envelope: int
    envelope_new_prompt: int
    envelope_known_prompt: int
    result: int
    result_new_prompt: int


def message_bytes(
    routing: RoutingTraits, needs: Requirements, embeds_dtype: torch.dtype, prompt: str, rebuilds: bool
) -> MessageBytes:
    """rebuilds: the envelope carries a chunk's latents. Noise never travels: both sides draw it from the seed."""
    latents, text = needs.latent_bytes, len(prompt.encode())
    embeds = math.prod(needs.text) * embeds_dtype.itemsize
    envelope = HEADER_BYTES + ENVELOPE_META_BYTES + (latents if rebuilds else 0)
    result = HEADER_BYTES + RESULT_META_BYTES + latents
    size = {"text": text, "embeds": embeds}
    returned = embeds if (routing.first_sends, routing.known_sends) == ("text", "embeds") else 0
    return MessageBytes(
        envelope=envelope,
        envelope_new_prompt=envelope + size[routing.first_sends],
        envelope_known_prompt=envelope + size[routing.known_sends],
        result=result,
        result_new_prompt=result + returned,
    )
