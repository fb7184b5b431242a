"""UMT5 text encoder as Wan uses it: a fixed number of tokens, embeddings zeroed beyond the prompt's end."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import UMT5EncoderModel

from pp1_orchestrator.models.text.cleaning import clean
from pp1_orchestrator.models.text.tokens import Tokenizer


class TextEncoder:
    """Encodes prompts. Not thread-safe: one owner. result: the device on which embeddings are wanted."""

    def __init__(self, model: UMT5EncoderModel, tokenizer: Tokenizer, length: int, result: torch.device) -> None:
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
