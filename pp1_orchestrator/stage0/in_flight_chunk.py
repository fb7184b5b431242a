"""A chunk between its plan and its pixels. Fences stand where its tensors may go to another thread."""

from dataclasses import dataclass, field

from torch import Tensor

from pp1_orchestrator.contract import Envelope, wire
from pp1_orchestrator.contract.envelope import InferPlan
from pp1_orchestrator.telemetry.records import ChunkRecord, UpdateRecord
from pp1_orchestrator.transport.cuda_streams import StreamFence
from pp1_orchestrator.types import DropReason, PromptUpdate


@dataclass(slots=True)
class InFlightChunk:
    """A planned chunk: its envelope, what is measured, and the prompt updates that it is the first to show."""

    envelope: Envelope
    encoded: wire.EncodedMessage
    fence: StreamFence
    """For a thread that sends the encoded envelope from another stream."""
    record: ChunkRecord
    updates: list[UpdateRecord]
    requested: PromptUpdate | None = None
    """The update that was asked for at this chunk."""
    strength: float | None = None
    """How far it may leave its input; None without one."""
    drop_reason: DropReason = "old_epoch"
    """Why, if it is dropped."""

    @property
    def plan(self) -> InferPlan:
        return self.envelope.plan

    @property
    def index(self) -> int:
        return self.envelope.plan.chunk_index


@dataclass(slots=True)
class ReceivedChunk:
    """A chunk whose result is here. latents: [1, F, z, h, w]."""

    chunk: InFlightChunk
    latents: Tensor
    finite: Tensor
    """Whether the latents are finite: a bool on their device. Reading it waits for the device."""
    fence: StreamFence
    """For a thread that uses the tensors above on another stream."""
    pixels: list[Tensor] = field(default_factory=list[Tensor])
    """What has been decoded so far, each [T, 3, H, W] in −1…1."""
