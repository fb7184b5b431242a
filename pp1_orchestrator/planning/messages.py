"""Bytes of each message between rank 0 and the leader, for every routing. Knows names and shapes; sends nothing."""

from __future__ import annotations

import math

import msgspec
import torch

from pp1_orchestrator.contract.wire import HEADER_FIELDS
from pp1_orchestrator.planning.requirements import Requirements

ROUTINGS = ("rank0_encoder", "mesh_encoder", "hybrid_cache")
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
    routing: str, needs: Requirements, embeds_dtype: torch.dtype, prompt: str, rebuilds: bool
) -> MessageBytes:
    """rebuilds: the envelope carries a chunk's latents for the mesh to rebuild its cache from. Noise never travels:
    both sides draw it from the seed."""
    latents = needs.latent_bytes
    embeds = math.prod(needs.text) * embeds_dtype.itemsize
    words = len(prompt.encode())
    envelope = HEADER_BYTES + ENVELOPE_META_BYTES + (latents if rebuilds else 0)
    result = HEADER_BYTES + RESULT_META_BYTES + latents
    first, known, returned = {
        "rank0_encoder": (embeds, embeds, 0),
        "mesh_encoder": (words, words, 0),
        "hybrid_cache": (words, embeds, embeds),
    }[routing]
    return MessageBytes(
        envelope=envelope,
        envelope_new_prompt=envelope + first,
        envelope_known_prompt=envelope + known,
        result=result,
        result_new_prompt=result + returned,
    )
