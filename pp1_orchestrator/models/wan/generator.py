"""Generates one chunk at a time: denoises new latents against the history, then caches their clean keys and values.

Knows the transformer, its cache and its schedule; knows nothing of requests or of what happens to the latents.
Sampling as in Self-Forcing (arXiv:2506.08009): each step predicts x0, which is noised again for the next step.
"""

import contextlib
from collections.abc import Generator, Sequence
from typing import Any

import torch
from torch import Tensor

from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.model import CausalWanModel
from pp1_orchestrator.models.wan.rope import RopeTable, rope_table
from pp1_orchestrator.models.wan.runner import EagerRunner, Text
from pp1_orchestrator.models.wan.sampler import noised, renoise_stream
from pp1_orchestrator.models.wan.schedule import TRAIN_STEPS, FlowSchedule


class CausalGenerator:
    """A transformer with its cache and text. `calls` counts the passes through the transformer."""

    def __init__(
        self, model: CausalWanModel, cache: KVCache, schedule: FlowSchedule, runner: EagerRunner | None = None
    ) -> None:
        self._model = model
        self._runner = runner or EagerRunner(model, cache)
        self._cache, self._schedule = cache, schedule
        self._text: Text | None = None
        self._caption: Text | None = None
        self._rope: tuple[tuple[int, ...], Any] | None = None
        self._opening: list[Tensor] = []
        """The finished chunks of the sink, as long as it is not complete, for a policy that reads them together."""
        weight = model.patch_embedding.weight
        self.device, self.dtype = weight.device, weight.dtype
        self.calls = 0

    def warm_up(self, text_shape: tuple[int, ...], latent_shape: tuple[int, ...]) -> None:
        """Run each kind of pass at each position of the window, so that all is compiled and captured; then reset.

        text_shape: [1, L, text_dim]; latent_shape: [1, F, c, h, w].
        """
        self.set_text(torch.zeros(text_shape))
        self.reset()
        for start in range(0, self._cache.settled, self._cache.chunk):
            self.write_context(self.denoise(torch.zeros(latent_shape), (TRAIN_STEPS,), start, seed=0), start)
        self.reset()
        self._text, self.calls = None, 0

    @torch.inference_mode()
    def set_text(self, embeds: Tensor) -> None:
        """Replace the text's keys and values by those of embeds [1, L, text_dim]. The history stays."""
        self._use_text(self._model.embed_text(embeds.to(self.device, self.dtype)))

    @torch.inference_mode()
    def set_caption(self, embeds: Tensor | None) -> None:
        """The text of `captioned` passes, [1, L, text_dim]; None: they see the same as others."""
        self._caption = None if embeds is None else self._model.embed_text(embeds.to(self.device, self.dtype))

    @contextlib.contextmanager
    def captioned(self, wanted: bool = True) -> Generator[None]:
        """Passes inside see the caption in place of the text, if there is one and it is wanted."""
        if self._caption is None or not wanted:
            yield
            return
        before = [(keys.clone(), values.clone()) for keys, values in self._text_of_now()]  # their place is used again
        self._use_text(self._caption)
        try:
            yield
        finally:
            self._use_text(before)

    def _use_text(self, text: Text) -> None:
        self._text = self._runner.stage_text(text)
        self._cache.text = self._text

    def reset(self) -> None:
        """Drop the history: the next chunk starts at latent frame 0. The text stays."""
        self._cache.rebase(0)
        self._opening.clear()

    @torch.inference_mode()
    def denoise(
        self,
        noise: Tensor,
        steps: Sequence[float],
        start_frame: int,
        seed: int,
        bias: float = 1.0,
        start: tuple[Tensor, float] | None = None,
    ) -> Tensor:
        """noise [1, F, c, h, w] at σ = 1 -> clean latents of the same shape, float32 on the generator's device.

        bias multiplies the attention weights of the history, except its first latent frame, before normalisation.
        start: latents to start from, of noise's shape, and the level of the noise that is mixed into them.
        """
        levels = self._schedule.steps(steps)
        renoise = renoise_stream(seed, start_frame)
        # Drawn and uploaded before the first pass, so that nothing between passes waits for the host.
        fresh = [self._runner.split(self._upload(torch.randn(noise.shape, generator=renoise))) for _ in levels[1:]]
        x = self._upload(noise)
        if start is not None:
            x = noised(start[0].to(self.device, self.dtype), x, start[1])
        clean = x = self._runner.split(x)
        for index, level in enumerate(levels):
            text, rope, time = self._prepare(noise, level.timestep, start_frame, bias)
            clean = x - level.sigma * self._runner.flow(x, time, text, rope)
            if index + 1 < len(levels):
                x = torch.lerp(clean, fresh[index], levels[index + 1].sigma)
        return self._runner.join(clean, noise.shape)

    @torch.inference_mode()
    def write_context(self, latents: Tensor, start_frame: int) -> None:
        """Cache a finished chunk's clean keys and values, by one pass at t = 0.

        If the chunk completes a sink that the policy reads together, the pass writes all of the sink.
        """
        cache = self._cache
        if cache.policy.read_together and start_frame < cache.sink_frames:
            self._opening.append(latents)
            if start_frame + cache.chunk == cache.sink_frames:
                self._write_together(self._opening, 0)
                self._opening.clear()
                self.calls += 1
                return
        text, rope, time = self._prepare(latents, 0.0, start_frame)
        self._runner.write(self._runner.split(latents.to(self.device, self.dtype)), time, text, rope)

    def close(self) -> None:
        """Free what refers to the process group of the generator's sums. Call it before the group ends."""
        self._runner.close()

    @torch.inference_mode()
    def rebuild(
        self, context: Tensor, start_frame: int, *, keep_sink: bool = False, bidirectional: bool = False
    ) -> None:
        """Replace the history by context [1, m, c, h, w], m latent frames from `start_frame` on, in one pass a chunk.

        Each chunk attends to itself and to the chunks of the context before it; bidirectional: to all of them.
        keep_sink: the sink's frames, which come before the context, stay as they are, and are attended to.
        Raises ValueError if m is not a whole number of chunks that fits the window.
        Source of reading again: LongLive, arXiv:2509.22622.
        """
        chunk, frames, room = self._cache.chunk, context.shape[1], self._cache.room(keep_sink)
        if not frames or frames % chunk or frames > room:
            raise ValueError(
                f"a context of {frames} latent frames is not one or more chunks of {chunk} frames "
                f"within the window's {room}"
            )
        self._cache.rebase(start_frame, keep_sink, read_again=frames)
        self._opening.clear()
        parts = [context[:, first : first + chunk] for first in range(0, frames, chunk)]
        if not bidirectional:
            for index, part in enumerate(parts):
                self.write_context(part, start_frame + index * chunk)
            return
        if self._cache.policy.read_together and not start_frame and frames < self._cache.sink_frames:
            self._opening.extend(parts)
        self.calls += len(parts)
        self._write_together(parts, start_frame)

    def _write_together(self, parts: Sequence[Tensor], start_frame: int) -> None:
        """Cache several chunks, each of which sees all of them."""
        text, time, chunk = self._text_of_now(), torch.zeros(1, device=self.device), self._cache.chunk
        ropes = [self._rope_table(self._token_grid(part, start_frame + i * chunk)) for i, part in enumerate(parts)]
        held = [self._runner.split(part.to(self.device, self.dtype)) for part in parts]
        self._runner.write_together(held, start_frame, time, text, ropes)

    def _upload(self, values: Tensor) -> Tensor:
        """Copy to the device, asynchronously, in the generator's type."""
        if values.device == self.device:
            return values.to(self.dtype)
        wide = values.pin_memory() if self.device.type == "cuda" else values
        return wide.to(self.device, non_blocking=True).to(self.dtype)

    def _prepare(
        self, latents: Tensor, timestep: float, start_frame: int, bias: float = 1.0
    ) -> tuple[Text, Any, Tensor]:
        """Select the cache's slots for a pass over a chunk's latents, and count it -> its text, rotary table, time."""
        text = self._text_of_now()
        self._cache.begin(start_frame, bias)
        self.calls += 1
        grid = self._token_grid(latents, start_frame)
        if self._rope is None or self._rope[0] != grid:
            self._rope = (grid, self._runner.stage_rope(self._rope_table(grid)))
        return text, self._rope[1], torch.full((1,), timestep, device=self.device)

    def _token_grid(self, latents: Tensor, start_frame: int) -> tuple[int, int, int, int]:
        """Where the tokens of [1, F, c, h, w] are: first frame, frames, rows, columns."""
        return start_frame, latents.shape[1], latents.shape[3] // 2, latents.shape[4] // 2

    def _rope_table(self, grid: tuple[int, int, int, int]) -> RopeTable:
        return rope_table(self._model.config.head_dim, *grid, self.device)

    def _text_of_now(self) -> Text:
        if self._text is None:
            raise ValueError("the generator has no text: set_text comes before the first chunk")
        return self._text
