"""Runs the two kinds of pass through a transformer that a generator needs."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pp1_orchestrator.models.wan.attention import KeyValue, preferred_kernels
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.model import CausalWanModel
from pp1_orchestrator.models.wan.rope import RopeTable

Text = Sequence[KeyValue]
"""Every block's text keys and values."""


class EagerRunner:
    """Runs the model eagerly; base of the faster runners.

    A pass takes latents as `split` returns them, their timesteps [1], and what `stage_text` and `stage_rope` last
    returned.
    """

    def __init__(self, model: CausalWanModel, cache: KVCache) -> None:
        self._model, self._cache = model, cache
        self._kernels = preferred_kernels(model.patch_embedding.weight.device)

    def stage_text(self, text: Text) -> Text:
        """The form in which passes take the text."""
        return text

    def convert_rope(self, rope: RopeTable) -> Any:
        """The form in which the blocks take the rotary table."""
        return rope

    def stage_rope(self, rope: RopeTable) -> Any:
        """The same, where the passes expect it."""
        return self.convert_rope(rope)

    def split(self, latents: Tensor) -> Tensor:
        """The part of a chunk's latents [1, F, c, h, w] that passes on this rank take."""
        return latents

    def join(self, part: Tensor, shape: torch.Size) -> Tensor:
        """The inverse of `split`, for latents of this shape. All ranks of the mesh call it together."""
        return part

    def flow(self, latents: Tensor, time: Tensor, text: Text, rope: Any) -> Tensor:
        """Flow of one chunk, of the latents' shape. Caches the chunk's keys and values."""
        with self._kernels():
            return self._model(latents, time, text, self._cache, rope)

    def write(self, latents: Tensor, time: Tensor, text: Text, rope: Any) -> None:
        """Only cache the chunk's keys and values."""
        with self._kernels():
            self._model.write_history(latents, time, text, self._cache, rope)

    def write_together(
        self, chunks: Sequence[Tensor], start: int, time: Tensor, text: Text, ropes: Sequence[RopeTable]
    ) -> None:
        """Only cache the keys and values of several chunks, each of which sees all of them. Rare, so never captured."""
        with self._kernels():
            forms = [self.convert_rope(rope) for rope in ropes]
            self._model.write_together(chunks, start, time, text, self._cache, forms)

    def close(self) -> None:
        """Free what refers to the process group of the model's sums. No pass may follow."""
