"""UMT5 text encoder as Wan uses it: a fixed number of tokens, embeddings zeroed beyond the prompt's end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer, UMT5Config, UMT5EncoderModel
from transformers.utils import logging as transformers_logging


class TextEncoder:
    """Encodes prompts. Not thread-safe: one owner."""

    def __init__(self, model: UMT5EncoderModel, tokenizer_folder: Path, length: int) -> None:
        self._model = model
        self._tokenizer = AutoTokenizer.from_pretrained(str(tokenizer_folder), local_files_only=True)
        self._length = length

    @property
    def weight_bytes(self) -> int:
        return sum(p.nbytes for p in self._model.parameters())

    @property
    def embed_shape(self) -> tuple[int, int, int]:
        """Shape of one prompt's embedding, [1, L, text_dim]."""
        return (1, self._length, self._model.config.d_model)

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str]) -> Tensor:
        """-> [N, L, text_dim] on the encoder's device; tokens beyond L are cut off."""
        batch = self._tokenizer(
            list(prompts), padding="max_length", max_length=self._length, truncation=True, return_tensors="pt"
        )
        device = self._model.device
        ids, mask = batch.input_ids.to(device), batch.attention_mask.to(device)
        hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
        return hidden * mask[..., None].to(hidden.dtype)


def load_text_encoder(
    encoder: Path, tokenizer: Path, length: int, device: torch.device, dtype: torch.dtype, random: bool = False
) -> TextEncoder:
    """The encoder in `encoder` with the tokenizer in `tokenizer`. Raises OSError when files are missing."""
    transformers_logging.disable_progress_bar()
    model: Any
    if random:
        model = UMT5EncoderModel(UMT5Config.from_pretrained(str(encoder)))
    else:
        model = UMT5EncoderModel.from_pretrained(str(encoder), dtype=dtype, use_safetensors=True)
    return TextEncoder(model.to(device, dtype).eval().requires_grad_(False), tokenizer, length)
