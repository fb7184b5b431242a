"""One chunk on a mesh rank, the same on every rank: rebuild the cache if asked to, denoise, and once the result is
away, the context pass.

Does what the envelope says and decides nothing. Knows neither ranks nor wires.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from pp1_orchestrator.contract import Envelope, PPResultV2, Result
from pp1_orchestrator.contract.envelope import CONDITIONING, CONTEXT_FRAMES, LATENTS_IN, InferPlan
from pp1_orchestrator.contract.result import LATENTS_OUT, TEXT_EMBEDS
from pp1_orchestrator.errors import ChunkError, ContractError
from pp1_orchestrator.measure.spans import SpanRecorder
from pp1_orchestrator.mesh.text import Resolved
from pp1_orchestrator.models.wan.noise import initial_noise


class Generator(Protocol):
    """What a worker needs of a generator (`models.wan.generator.CausalGenerator`)."""

    @property
    def calls(self) -> int: ...

    def reset(self) -> None: ...

    def set_text(self, embeds: Tensor) -> None: ...

    def rebuild(self, context: Tensor, start_frame: int) -> None: ...

    def denoise(
        self, noise: Tensor, steps: tuple[float, ...], start_frame: int, seed: int, bias: float = 1.0
    ) -> Tensor: ...

    def write_context(self, latents: Tensor, start_frame: int) -> None: ...


class MeshWorker:
    """Runs envelopes in order. `settle` must run between a result and the next `infer`; `infer` sees to it.

    alone: no other rank waits for this one in the middle of a chunk, so that it can go on after running out of memory.
    """

    def __init__(self, generator: Generator, spans: SpanRecorder, alone: bool = True) -> None:
        self._generator, self._alone = generator, alone
        self._spoiled = False
        self._spans = spans
        self._owed: tuple[InferPlan, Tensor] | None = None
        self._calls_reported = 0
        self._context_ms = 0.0
        self._conditioning_epoch = -1

    def infer(self, resolved: Resolved, idle_ms: float) -> Result:
        """Denoise the envelope's chunk. Raises ContractError before the first pass when the envelope can't be run."""
        try:
            return self._infer(resolved, idle_ms)
        except torch.OutOfMemoryError as error:
            if not self._alone:
                raise
            return self._give_up(resolved.envelope, str(error).splitlines()[0])

    def _give_up(self, envelope: Envelope, reason: str) -> Result:
        """This chunk, and those after it until the caches are reset: they go with it."""
        self._spoiled, self._owed = True, None
        self._generator.reset()
        self._calls_reported = self._generator.calls
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return failure(envelope, ChunkError(reason))

    def _infer(self, resolved: Resolved, idle_ms: float) -> Result:
        if self._spoiled and not resolved.envelope.plan.reset_kv_cache:
            return failure(resolved.envelope, ChunkError("the caches were given up with a chunk before"))
        self._spoiled = False
        self.settle()
        meta, plan = resolved.envelope.meta, resolved.envelope.plan
        self._apply_conditioning(plan, resolved.envelope)
        start = time.monotonic_ns()
        latents = self._denoise(plan, resolved.envelope)
        end = time.monotonic_ns()
        if plan.clean_pass:
            self._owed = (plan, latents)
        observed = self._generator.calls - self._calls_reported
        self._calls_reported = self._generator.calls
        context_ms, self._context_ms = self._context_ms, 0.0
        result = PPResultV2(
            call_id=meta.call_id,
            chunk_index=plan.chunk_index,
            cache_epoch=meta.cache_epoch,
            ok=True,
            observed_generator_calls=observed,
            mesh_current_start_frame=plan.current_start_frame,
            denoise_ms=(end - start) / 1e6,
            context_ms=context_ms,
            mesh_idle_ms=idle_ms,
            text_ms=resolved.text_ms,
        )
        embeds = {} if resolved.embeds is None else {TEXT_EMBEDS: resolved.embeds}
        return Result(result, {LATENTS_OUT: latents.float(), **embeds})

    def settle(self) -> None:
        """Run the context pass that the last chunk still owes."""
        if self._owed is None:
            return
        (plan, latents), self._owed = self._owed, None
        start = time.monotonic_ns()
        with self._spans.on_device("context", chunk=plan.chunk_index):
            self._generator.write_context(latents, plan.current_start_frame)
        end = time.monotonic_ns()
        self._context_ms = (end - start) / 1e6
        self._spans.add("context", start, end, chunk=plan.chunk_index)

    def _denoise(self, plan: InferPlan, envelope: Envelope) -> Tensor:
        frame, seed = plan.current_start_frame, plan.base_seed
        if plan.reset_kv_cache:
            self._generator.reset()
        context = envelope.tensors.get(CONTEXT_FRAMES)
        if context is not None:
            with self._traced("rebuild", plan.chunk_index, envelope.meta.call_id):
                self._generator.rebuild(context, frame - context.shape[1])
        noise = envelope.tensors.get(LATENTS_IN)
        if noise is None:
            noise = initial_noise(seed, frame, plan.latents_shape)
        with self._traced("denoise", plan.chunk_index, envelope.meta.call_id):
            return self._generator.denoise(noise, plan.denoising_steps, frame, seed, plan.kv_cache_attention_bias)

    @contextlib.contextmanager
    def _traced(self, phase: str, chunk: int, call_id: int) -> Iterator[None]:
        ids = {"chunk": chunk, "call_id": call_id}
        with self._spans.span(phase, **ids), self._spans.on_device(phase, **ids):
            yield

    def _apply_conditioning(self, plan: InferPlan, envelope: Envelope) -> None:
        if plan.reset_crossattn_cache:
            self._generator.set_text(envelope.tensors[CONDITIONING])
            self._conditioning_epoch = plan.conditioning_epoch
        if plan.conditioning_epoch != self._conditioning_epoch:
            raise ContractError(
                f"chunk {plan.chunk_index} needs conditioning {plan.conditioning_epoch}, "
                f"the mesh has {self._conditioning_epoch}"
            )


def failure(envelope: Envelope, error: Exception) -> Result:
    """The error result for an envelope that could not be run."""
    meta = envelope.meta
    chunk = meta.plan.chunk_index if meta.plan else -1
    message = f"{type(error).__name__}: {error}"
    answer = PPResultV2(
        call_id=meta.call_id, chunk_index=chunk, cache_epoch=meta.cache_epoch, ok=False, error_message=message
    )
    return Result(answer)
