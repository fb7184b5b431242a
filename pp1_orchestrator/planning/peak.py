"""The most memory that a process of the run has in use at once, from a survey of its parts.

What the libraries themselves take comes on top, and what an allocator can't use of a piece that it has handed out.
Loading is left out: it ends before there are caches, and holds one whole tensor beside what is loaded.
"""

from __future__ import annotations

import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.config.text_source import text_device
from pp1_orchestrator.planning.survey import Survey

STAGE0, MESH, TEXT = ("vae", "vae_encoder", "decode_cache"), ("generator", "kv_cache", "text_cache"), ("text_encoder",)
IN_TURNS = ("sync", "loop_ahead")
"""Overlaps with which one process never decodes while it generates."""


def components_of(settings: Settings, text_on_rank0: bool) -> dict[int, tuple[str, ...]]:
    """What each rank holds, by name."""
    leader, follower = (MESH if text_on_rank0 else MESH + TEXT), MESH
    others = dict.fromkeys(range(2, settings.layout.mesh_ranks + 1), follower)
    return {0: STAGE0 + TEXT if text_on_rank0 else STAGE0, 1: leader, **others}


def peaks(settings: Settings, found: Survey, text_on_rank0: bool) -> dict[int, int]:
    """Bytes by rank, on its own device. A mesh that is a thread of rank 0 has no peak of its own: rank 0's has it all.

    Prompts are encoded beside all else on rank 0, and before a pass on the leader.
    """
    there = {rank: _text_is_there(settings, rank) for rank in range(settings.layout.mesh_ranks + 1)}
    held = {
        rank: sum(found.components.get(name, 0) for name in names if there[rank] or name not in TEXT)
        for rank, names in components_of(settings, text_on_rank0).items()
    }
    text, decode = found.beyond["text"], found.beyond["decode"]
    beside = text if text_on_rank0 and there[0] else 0
    work = {rank: found.beyond["generator"] for rank in held if rank}
    if not text_on_rank0 and there[1]:
        work[1] = max(work[1], text)
    if settings.layout.backend == "none":
        both = max(decode, work[1]) if settings.overlap.name in IN_TURNS else decode + work[1]
        return {0: sum(held.values()) + both + beside}
    return {rank: held[rank] + work.get(rank, decode + beside) for rank in held}


def _text_is_there(settings: Settings, rank: int) -> bool:
    """Whether a text encoder of this rank would be where its other models are."""
    device = torch.device(settings.layout.device_of(rank))
    return text_device(settings, device) == device
