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
"""The reason of an epoch that begins with a new mesh."""
FAILED = "chunk"
"""The reason of one that begins after a chunk that the mesh could not make."""


@dataclass(slots=True)
class InFlightChunk:
    """An envelope, ready to be sent, with what is measured of it and the updates that it shows first."""

    envelope: Envelope
    parcel: wire.EncodedMessage
    packed: StreamFence
    record: ChunkRecord
    updates: list[UpdateRecord]
    requested: PromptUpdate | None = None
    """The update that was asked for at this very chunk."""
    spoiled: bool = False
    """It is not shown because it, or one before it in its epoch, is not finite."""

    failed: bool = False
    """The mesh could not make it."""

    @property
    def plan(self) -> InferPlan:
        return self.envelope.plan


@dataclass(slots=True)
class ReceivedChunk:
    """A flight whose result is here: latents [1, F, z, h, w], and its pixels so far, each [T, 3, H, W] in −1…1.

    finite: of the latents, a bool on their device; reading it waits for the device, as reading pixels does.
    """

    flight: InFlightChunk
    latents: Tensor
    finite: Tensor
    taken: StreamFence
    pixels: list[Tensor] = field(default_factory=list)
