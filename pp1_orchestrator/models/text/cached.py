"""A text encoder that remembers its newest prompts, for any thread.

Prompts are encoded one by one: an embedding must not depend on what else happens to be in a batch.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

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
