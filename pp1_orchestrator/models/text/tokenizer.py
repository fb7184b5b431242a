"""A prompt's text as Wan's encoder was trained on it: entities of HTML resolved, white space one blank.

Not done: repairing text that was decoded in the wrong encoding. Prompts come as Unicode.

Whether a prompt has more tokens than a text encoder reads. Knows the tokenizer alone: any rank can ask, at once.

From prompts to token numbers: a checkpoint's own tokenizer, or the text's bytes where there is none.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoTokenizer


def clean(text: str) -> str:
    """Entities are resolved twice, since text from the web is often escaped twice; ’ and “ become plain quotes."""
    plain = unicodedata.normalize("NFC", html.unescape(html.unescape(text))).translate(_QUOTES)
    return " ".join(plain.split())


_QUOTES = str.maketrans(dict.fromkeys("‘’‛ʼ", "'") | dict.fromkeys("“”‟", '"'))


class PromptLimit(Protocol):
    """Any thread may ask."""

    def exceeded(self, text: str) -> bool: ...


class TokenLimit:
    """limit: tokens that the encoder reads, the end's one included."""

    def __init__(self, tokenizer_folder: Path, limit: int) -> None:
        """Raises OSError when the tokenizer is missing."""
        self._tokenizer = Tokenizer.from_str((tokenizer_folder / "tokenizer.json").read_text(encoding="utf-8"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._limit = limit

    def exceeded(self, text: str) -> bool:
        return len(self._tokenizer.encode(clean(text)).ids) > self._limit


class ByteLimit:
    """The same where the bytes of a prompt are its tokens."""

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def exceeded(self, text: str) -> bool:
        return len(clean(text).encode()) + 1 > self._limit


def prompt_limit(tokenizer_folder: Path, random: bool, limit: int) -> PromptLimit:
    """As `models.text.load` chooses the tokenizer. random: of an encoder with random weights."""
    return ByteLimit(limit) if random and not tokenizer_folder.is_dir() else TokenLimit(tokenizer_folder, limit)


_PAD, _END, _FIRST_BYTE = 0, 1, 3


class TextTokenizer(Protocol):
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
