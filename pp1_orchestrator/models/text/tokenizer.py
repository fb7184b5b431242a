"""From prompts to token ids: text cleaning, the checkpoint's tokenizer, and whether a prompt is too long."""

import html
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ftfy
import torch
from tokenizers import Tokenizer
from torch import Tensor

_PAD, _END, _FIRST_BYTE = 0, 1, 3
_PADDING = "<pad>"


def clean_prompt(text: str) -> str:
    """Cleans a prompt as upstream does, whose encoder was trained on such captions.

    Wrongly decoded text is repaired, and quotes and control characters become plain. HTML entities are resolved, twice
    because text from the web is often escaped twice; runs of white space become one blank.
    Source: Wan2.1 `wan/modules/tokenizers.py` (`basic_clean`, `whitespace_clean`).
    """
    return " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split())


def _open_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer.json of a folder as it is: other libraries make their own tokenizer of it. Raises OSError."""
    path = folder / "tokenizer.json"
    text = path.read_text(encoding="utf-8")
    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing narrower
        raise OSError(f"{path}: not a tokenizer: {error}") from error


TextTokenizer = Callable[[Sequence[str], int], tuple[Tensor, Tensor]]
"""N texts, length -> ids [N, length] and a mask [N, length]: 1 up to the end of each text and 0 beyond."""


class FolderTokenizer:
    """The tokenizer in a folder. Raises OSError when there is none."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer: Any = _open_tokenizer(folder)
        self._pad = self._tokenizer.token_to_id(_PADDING)
        if self._pad is None:
            raise OSError(f"{folder / 'tokenizer.json'}: its vocabulary has no {_PADDING}")

    @property
    def size(self) -> int:
        """Tokens, with those that were added: one more than the largest number."""
        return max(self._tokenizer.get_vocab().values(), default=-1) + 1

    def __call__(self, texts: Sequence[str], length: int) -> tuple[Tensor, Tensor]:
        self._tokenizer.enable_truncation(length)
        self._tokenizer.enable_padding(length=length, pad_id=self._pad, pad_token=_PADDING)
        batch = self._tokenizer.encode_batch(list(texts))
        return torch.tensor([each.ids for each in batch]), torch.tensor([each.attention_mask for each in batch])


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
            self._tokenizer = _open_tokenizer(folder)
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
