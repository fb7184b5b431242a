"""The one place that decides about a chunk: resets, steps, call count, start frame, seed, conditioning, context.

Nothing else touches a cache: the mesh does what the envelope says. One thread only.
"""

import itertools
from dataclasses import dataclass

import msgspec
import torch
from torch import Tensor

from pp1_orchestrator.contract import Action, Envelope, PPEnvelopeV3, Result
from pp1_orchestrator.contract.envelope import (
    CAPTION,
    CONTEXT_FRAMES,
    INPUT_LATENTS,
    InferPlan,
    InputUse,
    RecacheMask,
    latent_size,
)
from pp1_orchestrator.stage0.conditioning import ConditioningSchedule, ConditioningTarget
from pp1_orchestrator.stage0.context_policies import ContextPolicy, LatentHistory
from pp1_orchestrator.stage0.input_encoder import InputEncoder
from pp1_orchestrator.stage0.input_modes import ChunkStart, InputMode
from pp1_orchestrator.stage0.text_routing import Payload, Routing


@dataclass(frozen=True, slots=True)
class ChunkSpec:
    """What holds for every chunk of a stream."""

    frames: int
    """Latent frames."""
    channels: int
    height: int
    """In pixels, like the width."""
    width: int
    steps: tuple[float, ...]
    """Timesteps of the denoising steps."""
    recompute_every: int
    """A context that rebuilds the cache does so before every n-th chunk."""
    bias: float
    """Weight of cached tokens between anchor and chunk."""
    sink: int
    """Latent frames of the stream's beginning that a recache leaves as they are."""
    recache_mask: RecacheMask
    first_steps: tuple[float, ...] | None = None
    """Those of an epoch's first chunk, where they are others."""


@dataclass(slots=True)
class PlannedInput:
    """What comes in beside the text. strength: how far a chunk may leave its input, 0…1; any thread may set it."""

    encoder: InputEncoder
    mode: InputMode
    strength: float
    caption: str | None = None
    """The text under which an input becomes history; None: that of the chunk."""


class Planner:
    """Counts calls, chunks and epochs, and writes envelopes. source: None for text alone."""

    def __init__(
        self,
        spec: ChunkSpec,
        seed: int,
        context: ContextPolicy,
        routing: Routing,
        history: LatentHistory,
        source: PlannedInput | None = None,
    ) -> None:
        self._spec, self._context, self._routing, self.history = spec, context, routing, history
        self.source = source
        self._conditioning = ConditioningSchedule()
        self._call_ids = itertools.count(1)
        self._start_frame = 0
        self._passes_owed = 0
        """Clean passes that the mesh still runs for the last chunk."""
        self.fresh = True
        """The next chunk begins an epoch."""
        self.seed = seed
        self.next_chunk = 0
        self.cache_epoch = 0

    @property
    def needs_history(self) -> bool:
        """True when a chunk can't be planned before the result of the one before it is here."""
        return self._context.rebuilds and not self.fresh

    @property
    def rebuilds_next(self) -> bool:
        """True when the next chunk is one of those before which the context may rebuild the cache."""
        chunk = self._start_frame // self._spec.frames
        return chunk > 0 and chunk % self._spec.recompute_every == 0

    def set_target(self, target: ConditioningTarget) -> None:
        """What the next chunks show or change towards. The cache keeps its history unless the target recomputes it."""
        self._conditioning.set_target(target, self.next_chunk)

    def hard_cut(self, reset_mesh: bool = False) -> None:
        """Forget all history: the next chunk starts a new epoch.

        reset_mesh: the mesh knows nothing. Conditioning is sent again, at its target, and no pass is owed.
        """
        self.cache_epoch += 1
        self._start_frame = 0
        self.fresh = True
        self.history.begin()
        if reset_mesh:
            self._conditioning.restore_target(self.next_chunk)
            self._routing.forget()
            self._passes_owed = 0

    def learn(self, plan: InferPlan, result: Result) -> None:
        """Take what a result brought back for a plan's recipe."""
        if plan.recipe is not None:
            self._routing.learn(plan.recipe, result)

    def remember(self, envelope: Envelope, latents: Tensor) -> None:
        """Take a finished chunk, [1, F, z, h, w], into the history, or the input that stands for it there."""
        use = envelope.plan.input
        is_input = use is not msgspec.UNSET and use.history
        self.history.add(envelope.tensors[INPUT_LATENTS].to(latents.device) if is_input else latents)

    def plan(self) -> Envelope:
        """The next chunk's envelope. A target must have been set."""
        spec, change, start = self._spec, self._conditioning.step(self.next_chunk), self._chunk_start()
        payload = Payload() if change is None else self._routing.payload(change[0], self._conditioning.epoch)
        if start.prefill is None:
            context, recache = self._context_frames(recache=change is not None and change[1].recache)
        else:
            context, recache = self._prefill(start.prefill), msgspec.UNSET
        caption, captioned = self._caption()
        rebuild_passes = 0 if context is None else context.shape[1] // spec.frames
        plan = InferPlan(
            chunk_index=self.next_chunk,
            height=spec.height,
            width=spec.width,
            latents_shape=(1, spec.frames, spec.channels, *latent_size(spec.height, spec.width)),
            current_start_frame=self._start_frame,
            do_kv_recompute=context is not None,
            clean_pass=self._context.clean_pass,
            denoising_steps=start.steps,
            expected_generator_calls=len(start.steps) + rebuild_passes + self._passes_owed,
            init_cache=self.fresh,
            reset_kv_cache=self.fresh,
            reset_crossattn_cache=change is not None,
            conditioning_epoch=self._conditioning.epoch,
            base_seed=self.seed,
            kv_cache_attention_bias=spec.bias,
            recipe=payload.recipe,
            return_embeds=payload.return_embeds,
            recache=recache,
            input=_input_use(start),
            caption=msgspec.UNSET if caption is None or captioned else caption,
        )
        tensors = {**payload.tensors} | ({} if context is None else {CONTEXT_FRAMES: context})
        tensors |= captioned | ({} if start.latents is None else {INPUT_LATENTS: start.latents})
        meta = PPEnvelopeV3(action=Action.INFER, call_id=next(self._call_ids), cache_epoch=self.cache_epoch, plan=plan)
        self.next_chunk += 1
        self._start_frame += spec.frames
        self.fresh = False
        self._passes_owed = int(self._context.clean_pass)
        return Envelope(meta, tensors)

    def message(self, action: Action) -> Envelope:
        """A NOOP or SHUTDOWN."""
        return Envelope(PPEnvelopeV3(action=action, call_id=next(self._call_ids), cache_epoch=self.cache_epoch))

    def _chunk_start(self) -> ChunkStart:
        steps = (self._spec.first_steps or self._spec.steps) if self.fresh else self._spec.steps
        source = self.source
        if source is None:
            return ChunkStart(steps)
        return source.mode.start(source.encoder.take(self.fresh), steps, source.strength, self.fresh)

    def _caption(self) -> tuple[str | None, dict[str, Tensor]]:
        """The caption that the chunk brings, and its embedding where rank 0 makes it."""
        text = self.source.caption if self.source is not None and self.fresh else None
        embeds = None if text is None else self._routing.caption(text)
        return text, {} if embeds is None else {CAPTION: embeds}

    def _prefill(self, latents: Tensor) -> Tensor:
        """Begin the epoch with latents that no chunk has made: the next chunk comes after them."""
        self.history.add(latents)
        self._start_frame = latents.shape[1]
        return latents

    def _context_frames(self, recache: bool) -> tuple[Tensor | None, RecacheMask | msgspec.UnsetType]:
        """What the cache is rebuilt from: the context's own frames, or all that the window holds, under the new prompt.

        The mask comes with the latter, if the cache goes on as it is otherwise.
        """
        if self.rebuilds_next:
            own = self._context.frames(self.history)
            if own is not None:
                return own, msgspec.UNSET
        if not recache or not self.history.chunks:
            return None, msgspec.UNSET
        newest = list(self.history.newest)
        if self._context.rebuilds:
            return torch.cat(newest, dim=1), msgspec.UNSET
        if self.history.chunks > len(newest):
            newest = newest[self._spec.sink // self._spec.frames :]
        return torch.cat(newest, dim=1), self._spec.recache_mask


def _input_use(start: ChunkStart) -> InputUse | msgspec.UnsetType:
    if start.latents is None:
        return msgspec.UNSET
    return InputUse(noise_level=start.noise_level, history=start.is_history)
