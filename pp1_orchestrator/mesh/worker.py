"""One chunk on a mesh rank, the same on every rank: rebuild the cache if the envelope says so, denoise, and run the
context pass after the result has been sent.

Does what the envelope says and decides nothing. Knows nothing of ranks or messages.
"""

import contextlib
import gc
import time
from collections.abc import Generator
from typing import Any

import msgspec
import torch
from torch import Tensor

from pp1_orchestrator.contract import Envelope, PPResultV3, Result
from pp1_orchestrator.contract.envelope import CAPTION, CONDITIONING, CONTEXT_FRAMES, INPUT_LATENTS, InferPlan
from pp1_orchestrator.contract.result import LATENTS_OUT, TEXT_EMBEDS
from pp1_orchestrator.errors import ChunkError, ContractError, first_line, named_line
from pp1_orchestrator.mesh.text_conditioning import ResolvedEnvelope
from pp1_orchestrator.models.wan.generator import CausalGenerator
from pp1_orchestrator.models.wan.sampler import initial_noise
from pp1_orchestrator.telemetry.spans import SpanRecorder


class MeshWorker:
    """Runs envelopes in order.

    Results are synchronised: their times are those of the device, and their tensors are ready to be read.
    only_rank: no other rank waits for this one within a chunk, so it can continue after running out of memory.
    """

    def __init__(
        self, generator: CausalGenerator, spans: SpanRecorder, device: torch.device, only_rank: bool = True
    ) -> None:
        self._generator, self._spans, self._timer, self._only_rank = generator, spans, DeviceTimer(device), only_rank
        self._needs_reset = False
        self._pending_context: tuple[InferPlan, Tensor] | None = None
        self._calls_reported = 0
        self._context_marks: tuple[Any, Any] | None = None
        """Start and end marks of the last context pass, which the device may still be running."""
        self._conditioning_epoch = -1

    def infer(self, resolved: ResolvedEnvelope, idle_ms: float) -> Result:
        """Denoise the envelope's chunk. Runs the last chunk's context pass first, if that has not run yet.

        Raises ContractError before the first pass if the envelope can't be run.
        """
        try:
            return self._infer(resolved, idle_ms)
        except torch.OutOfMemoryError as error:
            if not self._only_rank:
                raise
            return self._abandon(resolved.envelope, first_line(error))

    def _abandon(self, envelope: Envelope, reason: str) -> Result:
        """Give up this chunk and all that follow until the caches are reset."""
        self._needs_reset, self._pending_context, self._context_marks = True, None, None
        self._generator.reset()
        self._calls_reported = self._generator.calls
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return failure(envelope, ChunkError(reason))

    def _infer(self, resolved: ResolvedEnvelope, idle_ms: float) -> Result:
        if self._needs_reset and not resolved.envelope.plan.reset_kv_cache:
            return failure(resolved.envelope, ChunkError("the caches were given up with an earlier chunk"))
        self._needs_reset = False
        self.run_context_pass()
        meta, plan = resolved.envelope.meta, resolved.envelope.plan
        self._apply_conditioning(plan, resolved.envelope)
        latents, denoise_ms = self._denoise(plan, resolved.envelope)
        if plan.clean_pass:
            self._pending_context = (plan, _history_of(resolved.envelope, latents))
        observed = self._generator.calls - self._calls_reported
        self._calls_reported = self._generator.calls
        context_ms = 0.0 if self._context_marks is None else self._timer.ms(*self._context_marks)
        self._context_marks = None
        result = PPResultV3(
            call_id=meta.call_id,
            chunk_index=plan.chunk_index,
            cache_epoch=meta.cache_epoch,
            ok=True,
            observed_generator_calls=observed,
            mesh_current_start_frame=plan.current_start_frame,
            denoise_ms=denoise_ms,
            context_ms=context_ms,
            mesh_idle_ms=idle_ms,
            text_ms=resolved.text_ms,
        )
        embeds = {} if resolved.embeds is None else {TEXT_EMBEDS: resolved.embeds}
        return Result(result, {LATENTS_OUT: latents.float(), **embeds})

    def run_context_pass(self) -> None:
        """Run the context pass of the last chunk, if it is still to be run."""
        if self._pending_context is None:
            return
        (plan, latents), self._pending_context = self._pending_context, None
        start = self._timer.mark()
        with self._traced("context", plan.chunk_index), self._generator.captioned(_is_history(plan)):
            self._generator.write_context(latents, plan.current_start_frame)
        self._context_marks = (start, self._timer.mark())

    def _denoise(self, plan: InferPlan, envelope: Envelope) -> tuple[Tensor, float]:
        """The chunk's latents, ready to be read, and their milliseconds, including a rebuild of the cache."""
        frame, seed, began = plan.current_start_frame, plan.base_seed, self._timer.mark()
        if plan.reset_kv_cache:
            self._generator.reset()
        context = envelope.tensors.get(CONTEXT_FRAMES)
        if context is not None:
            captioned = self._generator.captioned(plan.init_cache or _is_history(plan))
            with self._traced("rebuild", plan.chunk_index, call_id=envelope.meta.call_id), captioned:
                start_frame = frame - context.shape[1]
                keep_sink = plan.recache is not msgspec.UNSET and start_frame > 0
                together = plan.recache == "bidirectional"
                self._generator.rebuild(context, start_frame, keep_sink=keep_sink, bidirectional=together)
        noise = initial_noise(seed, frame, plan.latents_shape)
        start = None if plan.input is msgspec.UNSET else (envelope.tensors[INPUT_LATENTS], plan.input.noise_level)
        ids = {"chunk": plan.chunk_index, "call_id": envelope.meta.call_id}
        with self._spans.span("denoise", **ids):
            with self._spans.on_device("denoise", **ids):
                latents = self._generator.denoise(
                    noise, plan.denoising_steps, frame, seed, plan.kv_cache_attention_bias, start
                )
            return latents, self._timer.ms(began, self._timer.mark())

    @contextlib.contextmanager
    def _traced(self, phase: str, chunk: int, **more: int) -> Generator[None]:
        with self._spans.span(phase, chunk=chunk, **more), self._spans.on_device(phase, chunk=chunk, **more):
            yield

    def _apply_conditioning(self, plan: InferPlan, envelope: Envelope) -> None:
        if plan.reset_kv_cache:
            self._generator.set_caption(envelope.tensors.get(CAPTION))
        if plan.reset_crossattn_cache:
            self._generator.set_text(envelope.tensors[CONDITIONING])
            self._conditioning_epoch = plan.conditioning_epoch
        if plan.conditioning_epoch != self._conditioning_epoch:
            raise ContractError(
                f"chunk {plan.chunk_index} needs conditioning {plan.conditioning_epoch}, "
                f"the mesh has {self._conditioning_epoch}"
            )


class DeviceTimer:
    """Times the work of the calling thread. CUDA work is asynchronous, so it is timed with events."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def mark(self) -> Any:
        """Mark this point of the work."""
        if self._device.type != "cuda":
            return time.monotonic()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event

    def ms(self, start: Any, end: Any) -> float:
        """Milliseconds between two marks. Waits until the work up to `end` is done."""
        if self._device.type != "cuda":
            return (end - start) * 1e3
        end.synchronize()
        return start.elapsed_time(end)


def _history_of(envelope: Envelope, latents: Tensor) -> Tensor:
    """What a chunk leaves in the cache: its own latents, or the input's."""
    return envelope.tensors[INPUT_LATENTS] if _is_history(envelope.plan) else latents


def _is_history(plan: InferPlan) -> bool:
    return plan.input is not msgspec.UNSET and plan.input.history


def failure(envelope: Envelope, error: Exception) -> Result:
    """The error result for an envelope that could not be run."""
    meta = envelope.meta
    chunk = meta.plan.chunk_index if meta.plan else -1
    answer = PPResultV3(
        call_id=meta.call_id, chunk_index=chunk, cache_epoch=meta.cache_epoch, ok=False, error_message=named_line(error)
    )
    return Result(answer)
