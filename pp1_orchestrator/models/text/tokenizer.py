"""From prompts to token ids: text cleaning, the checkpoint's tokenizer, and whether a prompt is too long."""

import html
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers.models.auto import AutoTokenizer

_PAD, _END, _FIRST_BYTE = 0, 1, 3
_QUOTES = str.maketrans(dict.fromkeys("‘’‛ʼ", "'") | dict.fromkeys("“”‟", '"'))


def clean_prompt(text: str) -> str:
    """Cleans a prompt like the captions that Wan's encoder was trained on.

    HTML entities are resolved, twice because text from the web is often escaped twice. Curly quotes become plain, and
    runs of white space one blank. Unlike upstream, wrongly decoded text is not repaired: prompts come as Unicode.
    """
    plain = unicodedata.normalize("NFC", html.unescape(html.unescape(text))).translate(_QUOTES)
    return " ".join(plain.split())


TextTokenizer = Callable[[Sequence[str], int], tuple[Tensor, Tensor]]
"""N texts, length -> ids [N, length] and a mask [N, length]: 1 up to the end of each text and 0 beyond."""


class FolderTokenizer:
    """The tokenizer in a folder. Raises OSError when there is none."""

    def __init__(self, folder: Path) -> None:
        loader: Any = AutoTokenizer  # it has no types
        self._tokenizer: Any = loader.from_pretrained(str(folder), local_files_only=True)

    def __call__(self, texts: Sequence[str], length: int) -> tuple[Tensor, Tensor]:
        batch = self._tokenizer(
            list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
        return batch.input_ids, batch.attention_mask


def tokenize_bytes(texts: Sequence[str], length: int) -> tuple[Tensor, Tensor]:
    """One token per byte, for encoders with random weights. A `TextTokenizer`."""
    ids = torch.full((len(texts), length), _PAD)
    for row, text in zip(ids, texts, strict=True):
        tokens = [_FIRST_BYTE + byte for byte in text.encode()[: length - 1]]
        row[: len(tokens) + 1] = torch.tensor([*tokens, _END])
    return ids, (ids != _PAD).long()


def uses_bytes(folder: Path, random: bool) -> bool:
    """Whether bytes are the tokens: only for random weights without a tokenizer folder."""
    return random and not folder.is_dir()


class PromptLimit:
    """Tells how much of a prompt the encoder reads, without the encoder. Thread-safe.

    random: the encoder has random weights. limit: tokens that it reads, including the end token.
    Raises OSError without a tokenizer.
    """

    def __init__(self, folder: Path, random: bool, limit: int) -> None:
        self._limit, self._tokenizer = limit, None
        if not uses_bytes(folder, random):
            self._tokenizer = Tokenizer.from_str((folder / "tokenizer.json").read_text(encoding="utf-8"))
            self._tokenizer.no_truncation()
            self._tokenizer.no_padding()

    def read_chars(self, text: str) -> int | None:
        """Characters of the cleaned prompt that the encoder reads, its beginning; None if it reads all of it."""
        text = clean_prompt(text)
        if self._tokenizer is None:
            encoded = text.encode()
            return None if len(encoded) < self._limit else len(encoded[: self._limit - 1].decode(errors="ignore"))
        tokens = self._tokenizer.encode(text)
        if len(tokens.ids) <= self._limit:
            return None
        first_unread = tokens.offsets[self._limit - 1]  # the end token takes the last place
        return first_unread[0]
