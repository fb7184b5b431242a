"""From prompts to token numbers: a checkpoint's own tokenizer, or the text's bytes where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from transformers import AutoTokenizer

_PAD, _END, _FIRST_BYTE = 0, 1, 3


class Tokenizer(Protocol):
    """Makes each text exactly `length` tokens long."""

    def __call__(self, texts: Sequence[str], length: int) -> tuple[Tensor, Tensor]:
        """-> numbers [N, length] and mask [N, length], 1 up to the end of each text and 0 beyond."""
        ...


class FolderTokenizer:
    """The tokenizer in a folder. Raises OSError when there is none."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)

    def __call__(self, texts: Sequence[str], length: int) -> tuple[Tensor, Tensor]:
        batch = self._tokenizer(
            list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
        return batch.input_ids, batch.attention_mask


class ByteTokenizer:
    """A token a byte. For random weights only, to which no token means anything."""

    def __call__(self, texts: Sequence[str], length: int) -> tuple[Tensor, Tensor]:
        ids = torch.full((len(texts), length), _PAD)
        for row, text in zip(ids, texts, strict=True):
            numbers = [_FIRST_BYTE + byte for byte in text.encode()[: length - 1]]
            row[: len(numbers) + 1] = torch.tensor([*numbers, _END])
        return ids, (ids != _PAD).long()
