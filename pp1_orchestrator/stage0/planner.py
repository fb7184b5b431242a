"""The one place that decides about a chunk: resets, steps, call count, start frame, seed, noise.

Nothing else touches a cache: the mesh does what the envelope says. One thread only.
"""

from __future__ import annotations

from dataclasses import dataclass

from pp1_orchestrator.contract import Action, Envelope, PPEnvelopeV1
from pp1_orchestrator.contract.envelope import LATENTS_IN, VAE_STRIDE, InferPlan
from pp1_orchestrator.models.wan.noise import initial_noise
from pp1_orchestrator.strategies.context.base import ContextPolicy
from pp1_orchestrator.strategies.routing.base import Conditioning, Routing


@dataclass(frozen=True, slots=True)
class ChunkShape:
    """Latent frames and channels of a chunk; height and width in pixels."""

    frames: int
    channels: int
    height: int
    width: int

    @property
    def latents(self) -> tuple[int, int, int, int, int]:
        return (1, self.frames, self.channels, self.height // VAE_STRIDE, self.width // VAE_STRIDE)


class Planner:
    """Counts calls, chunks and epochs, and writes envelopes."""

    def __init__(
        self, shape: ChunkShape, steps: tuple[float, ...], seed: int, context: ContextPolicy, routing: Routing
    ) -> None:
        self._shape, self._steps = shape, steps
        self._context, self._routing = context, routing
        self._conditioning: Conditioning | None = None
        self._conditioning_epoch = 0
        self._conditioning_sent = False
        self._call_id = 0
        self._start_frame = 0
        self.fresh = True
        self._context_owed = False
        self.seed = seed
        self.next_chunk = 0
        self.cache_epoch = 0

    def set_conditioning(self, conditioning: Conditioning) -> None:
        """What the next chunks show; the cache keeps its history."""
        self._conditioning = conditioning
        self._conditioning_epoch += 1
        self._conditioning_sent = False

    def hard_cut(self) -> None:
        """Forget all history: the next chunk starts a new epoch."""
        self.cache_epoch += 1
        self._start_frame = 0
        self.fresh = True

    def plan(self) -> Envelope:
        """The next chunk's envelope. A conditioning must have been set."""
        assert self._conditioning is not None
        context = self._context.plan(self._start_frame)
        calls = len(self._steps) + context.recompute + self._context_owed
        changed = not self._conditioning_sent
        plan = InferPlan(
            chunk_index=self.next_chunk,
            height=self._shape.height,
            width=self._shape.width,
            current_start_frame=self._start_frame,
            do_kv_recompute=context.recompute,
            clean_pass=context.clean_pass,
            denoising_steps=self._steps,
            expected_generator_calls=calls,
            init_cache=self.fresh,
            reset_kv_cache=self.fresh,
            reset_crossattn_cache=changed,
            conditioning_epoch=self._conditioning_epoch,
            base_seed=self.seed,
        )
        tensors = {LATENTS_IN: initial_noise(self.seed, self._start_frame, self._shape.latents)}
        if changed:
            tensors |= self._routing.payload(self._conditioning)
        meta = PPEnvelopeV1(action=Action.INFER, call_id=self._take_call(), cache_epoch=self.cache_epoch, plan=plan)
        self._advance(context.clean_pass)
        return Envelope(meta, tensors)

    def message(self, action: Action) -> Envelope:
        """A NOOP or SHUTDOWN."""
        return Envelope(PPEnvelopeV1(action=action, call_id=self._take_call(), cache_epoch=self.cache_epoch))

    def _advance(self, owes_context: bool) -> None:
        self.next_chunk += 1
        self._start_frame += self._shape.frames
        self.fresh = False
        self._conditioning_sent = True
        self._context_owed = owes_context

    def _take_call(self) -> int:
        self._call_id += 1
        return self._call_id
