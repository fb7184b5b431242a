"""Encodes prompts with UMT5 as Wan does, and caches embeddings: L tokens each, zero beyond the end of the prompt."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pp1_orchestrator.models.text.tokenizer import TextTokenizer, clean_prompt

if TYPE_CHECKING:  # takes seconds to import; a mesh rank without an encoder does without
    from transformers.models.umt5 import UMT5EncoderModel

CACHE_SIZE = 64
"""Prompts."""


class TextEncoder:
    """Encodes prompts to embeddings of `length` tokens on the device `result`. Not thread-safe."""

    def __init__(self, model: UMT5EncoderModel, tokenizer: TextTokenizer, length: int, result: torch.device) -> None:
        self._model, self._tokenizer, self._length, self._result = model, tokenizer, length, result

    @property
    def weight_bytes(self) -> int:
        return sum(p.nbytes for p in self._model.parameters())

    @property
    def embed_shape(self) -> tuple[int, int, int]:
        """The shape of one prompt's embedding, [1, L, text_dim]."""
        return (1, self._length, self._model.config.d_model)

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Returns [N, L, text_dim]. Tokens beyond L are cut off."""
        ids, mask = self._tokenizer([clean_prompt(prompt) for prompt in prompts], self._length)
        device = self._model.device
        ids, mask = ids.to(device), mask.to(device)
        hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
        return (hidden * mask[..., None].to(hidden.dtype)).to(self._result)


def _not_encoded(_: str) -> list[Tensor]:
    return []


class CachedEncoder:
    """Calls `TextEncoder.encode` once for each of the newest prompts. Thread-safe; a known one waits for no other.

    Each prompt is encoded alone, because an embedding must not depend on what else is in a batch.
    """

    def __init__(self, encode: Callable[[Sequence[str]], Tensor]) -> None:
        self._encode, self._lock = encode, threading.Lock()
        self._found = lru_cache(CACHE_SIZE)(_not_encoded)
        """A prompt's embedding, in a list that is empty until it has been encoded."""

    def encode(self, text: str) -> Tensor:
        """Returns [1, L, text_dim]."""
        found = self._found(text)
        if not found:
            with self._lock:
                if not found:
                    found.append(self._encode([text]))
        return found[0]
