"""A chunk between its plan and its pixels. Fences stand where its tensors may go to another thread."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from pp1_orchestrator.contract import Envelope, wire
from pp1_orchestrator.contract.envelope import InferPlan
from pp1_orchestrator.telemetry.records import ChunkRecord, UpdateRecord
from pp1_orchestrator.transport.cuda_streams import StreamFence
from pp1_orchestrator.types import PromptUpdate

RESTART = "restart"
"""Reason of an epoch that begins with a new mesh."""
FAILED = "chunk"
"""Reason of an epoch that begins after a chunk that the mesh could not make."""


@dataclass(slots=True)
class InFlightChunk:
    """A planned chunk: its envelope, what is measured, and the prompt updates that it is the first to show."""

    envelope: Envelope
    encoded: wire.EncodedMessage
    """The envelope, ready to be sent."""
    packed: StreamFence
    """For a thread that sends its tensors from another stream."""
    record: ChunkRecord
    updates: list[UpdateRecord]
    requested: PromptUpdate | None = None
    """The update that was asked for at this chunk."""
    rejected: bool = False
    """Not shown because it, or one before it in its epoch, is not finite."""
    failed: bool = False
    """The mesh could not make it."""

    @property
    def plan(self) -> InferPlan:
        return self.envelope.plan


@dataclass(slots=True)
class ReceivedChunk:
    """A chunk whose result is here."""

    chunk: InFlightChunk
    latents: Tensor
    """[1, F, z, h, w]."""
    finite: Tensor
    """Whether the latents are, a bool on their device. Reading it waits for the device."""
    fence: StreamFence
    """For a thread that uses both on another stream."""
    pixels: list[Tensor] = field(default_factory=list)
    """What has been decoded so far, each [T, 3, H, W] in −1…1."""
