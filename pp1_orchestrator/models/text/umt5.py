"""A text encoder that remembers its newest prompts, for any thread.

Prompts are encoded one by one: an embedding must not depend on what else happens to be in a batch.

UMT5 text encoder as Wan uses it: a fixed number of tokens, embeddings zeroed beyond the prompt's end.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from transformers import UMT5EncoderModel

from pp1_orchestrator.models.text.tokenizer import TextTokenizer, clean

KEPT = 64


class BatchEncoder(Protocol):
    """What does the encoding (`models.text.encoder.TextEncoder`)."""

    def encode(self, prompts: Sequence[str]) -> Tensor: ...


class EmbeddingCache:
    """The newest `limit` embeddings [1, L, text_dim] by prompt. Thread-safe."""

    def __init__(self, limit: int = KEPT) -> None:
        self._limit = limit
        self._entries: OrderedDict[str, Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, text: str) -> Tensor | None:
        with self._lock:
            found = self._entries.get(text)
            if found is not None:
                self._entries.move_to_end(text)
            return found

    def put(self, text: str, embeds: Tensor) -> None:
        with self._lock:
            self._entries[text] = embeds
            self._entries.move_to_end(text)
            if len(self._entries) > self._limit:
                self._entries.popitem(last=False)


class CachedEncoder:
    """Encodes a prompt once."""

    def __init__(self, encoder: BatchEncoder, limit: int = KEPT) -> None:
        self._encoder = encoder
        self._cache = EmbeddingCache(limit)
        self._encoding = threading.Lock()

    def encode(self, text: str) -> Tensor:
        """-> [1, L, text_dim]."""
        with self._encoding:
            found = self._cache.get(text)
            if found is None:
                found = self._encoder.encode([text])
                self._cache.put(text, found)
            return found


class TextEncoder:
    """Encodes prompts. Not thread-safe: one owner. result: the device on which embeddings are wanted."""

    def __init__(self, model: UMT5EncoderModel, tokenizer: TextTokenizer, length: int, result: torch.device) -> None:
        self._model, self._tokenizer, self._length, self._result = model, tokenizer, length, result

    @property
    def weight_bytes(self) -> int:
        return sum(p.nbytes for p in self._model.parameters())

    @property
    def embed_shape(self) -> tuple[int, int, int]:
        """Shape of one prompt's embedding, [1, L, text_dim]."""
        return (1, self._length, self._model.config.d_model)

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str]) -> Tensor:
        """-> [N, L, text_dim]; tokens beyond L are cut off."""
        ids, mask = self._tokenizer([clean(prompt) for prompt in prompts], self._length)
        device = self._model.device
        ids, mask = ids.to(device), mask.to(device)
        hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
        return (hidden * mask[..., None].to(hidden.dtype)).to(self._result)
