"""Whether a prompt has more tokens than a text encoder reads. Knows the tokenizer alone: any rank can ask, at once."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from tokenizers import Tokenizer

from pp1_orchestrator.models.text.cleaning import clean


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
