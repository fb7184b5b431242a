"""Whether a prompt has more tokens than a text encoder reads. Knows the tokenizer alone: any rank can ask, at once."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer


class TokenLimit:
    """limit: tokens that the encoder reads, the end's one included. Any thread may ask."""

    def __init__(self, tokenizer_folder: Path, limit: int) -> None:
        """Raises OSError when the tokenizer is missing."""
        self._tokenizer = Tokenizer.from_str((tokenizer_folder / "tokenizer.json").read_text(encoding="utf-8"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._limit = limit

    def exceeded(self, text: str) -> bool:
        return len(self._tokenizer.encode(text).ids) > self._limit
