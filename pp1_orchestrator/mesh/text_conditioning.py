"""Follows the text recipes of envelopes on the leader, so that the rest of the mesh receives tensors only."""

import time
from dataclasses import dataclass, replace

import msgspec
import torch
from torch import Tensor

from pp1_orchestrator.contract import Envelope
from pp1_orchestrator.contract.envelope import CAPTION, CONDITIONING
from pp1_orchestrator.errors import ContractError
from pp1_orchestrator.models.text.blend import RecipeMixer
from pp1_orchestrator.models.text.umt5 import CachedEncoder
from pp1_orchestrator.telemetry.spans import SpanRecorder


@dataclass(frozen=True, slots=True)
class ResolvedEnvelope:
    """An envelope without a recipe: a changed conditioning is a tensor.

    embeds: [N, L, text_dim] that the result is to carry. text_ms: time that this took.
    """

    envelope: Envelope
    embeds: Tensor | None = None
    text_ms: float = 0.0


class RecipeResolver:
    """Turns recipes into tensors. encoder: None if prompts are encoded on rank 0."""

    def __init__(self, encoder: CachedEncoder | None, spans: SpanRecorder) -> None:
        self._encoder, self._spans = encoder, spans
        self._mixer = RecipeMixer(self._lookup)

    def resolve(self, envelope: Envelope) -> ResolvedEnvelope:
        """Raises ContractError if the envelope has a recipe and the mesh has no encoder."""
        envelope = self._with_caption(envelope)
        plan = envelope.meta.plan
        if plan is None:
            return ResolvedEnvelope(envelope)
        if plan.recipe is None:
            if CONDITIONING in envelope.tensors:
                self._mixer.adopt(plan.conditioning_epoch, envelope.tensors[CONDITIONING])
            return ResolvedEnvelope(envelope)
        start = time.monotonic_ns()
        conditioning = self._mixer.apply(plan.recipe, plan.conditioning_epoch)
        embeds = torch.cat([self._lookup(text) for text in plan.recipe.texts]) if plan.return_embeds else None
        end = time.monotonic_ns()
        self._spans.add("text", start, end, chunk=plan.chunk_index, call_id=envelope.meta.call_id)
        resolved = msgspec.structs.replace(plan, recipe=None, return_embeds=False)
        meta = msgspec.structs.replace(envelope.meta, plan=resolved)
        tensors = {**envelope.tensors, CONDITIONING: conditioning}
        return ResolvedEnvelope(replace(envelope, meta=meta, tensors=tensors), embeds, (end - start) / 1e6)

    def _with_caption(self, envelope: Envelope) -> Envelope:
        """Its caption, if it has one, as a tensor."""
        plan = envelope.meta.plan
        if plan is None or plan.caption is msgspec.UNSET:
            return envelope
        embeds = self._lookup(plan.caption)
        meta = msgspec.structs.replace(envelope.meta, plan=msgspec.structs.replace(plan, caption=msgspec.UNSET))
        return replace(envelope, meta=meta, tensors={**envelope.tensors, CAPTION: embeds})

    def _lookup(self, text: str) -> Tensor:
        if self._encoder is None:
            raise ContractError("the envelope carries prompts, and the mesh has no text encoder")
        return self._encoder.encode(text)
