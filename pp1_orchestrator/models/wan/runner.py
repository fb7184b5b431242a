"""Runs the two kinds of pass through a transformer that a generator needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from pp1_orchestrator.models.wan.attention import KeyValue, preferred_kernels
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.model import CausalWanModel
from pp1_orchestrator.models.wan.rope import RopeTable

Text = Sequence[KeyValue]
"""Every block's text keys and values."""


class ModelRunner(Protocol):
    """A pass takes latents [1, F, c, h, w], their times [1], and the last text and rotary table in their kept forms."""

    def keep_text(self, text: Text) -> Text:
        """The form that passes take it in, good until the next one is kept."""
        ...

    def keep_rope(self, rope: RopeTable) -> Any:
        """Likewise."""
        ...

    def flow(self, latents: Tensor, time: Tensor, text: Text, rope: Any) -> Tensor:
        """Flow of one chunk, of the latents' shape; its keys and values are in the history then."""
        ...

    def write(self, latents: Tensor, time: Tensor, text: Text, rope: Any) -> None:
        """The chunk's keys and values into the history, and nothing else."""
        ...

    def close(self) -> None:
        """Let go of whatever holds on to others: there are no passes after this."""
        ...


class EagerRunner:
    """Runs the model eagerly."""

    def __init__(self, model: CausalWanModel, cache: KVCache) -> None:
        self._model, self._cache = model, cache
        self._kernels = preferred_kernels(model.patch_embedding.weight.device)

    def keep_text(self, text: Text) -> Text:
        return text

    def keep_rope(self, rope: RopeTable) -> Any:
        return rope

    def flow(self, latents: Tensor, time: Tensor, text: Text, rope: Any) -> Tensor:
        with self._kernels():
            return self._model(latents, time, text, self._cache, rope)

    def write(self, latents: Tensor, time: Tensor, text: Text, rope: Any) -> None:
        with self._kernels():
            self._model.write_history(latents, time, text, self._cache, rope)

    def close(self) -> None:
        """Nothing is held."""
