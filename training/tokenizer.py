"""The model's tokenizer: whole caption words, single characters, and bytes for everything else.

A lower-casing Unigram model with a fixed vocabulary. Ids: 0 padding, 1 end, 2 unknown.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import Tensor

from training.captions import vocabulary

TEXT_LENGTH: Final = 48
_SPACE: Final = "▁"
_CHARACTERS: Final = _SPACE + "abcdefghijklmnopqrstuvwxyz0123456789.,!?'\"-:;()/&"
# Log-probabilities: a whole word beats its letters, letters beat bytes.
_WORD_SCORE, _CHARACTER_SCORE, _BYTE_SCORE = -4.0, -12.0, -40.0


def build_tokenizer() -> Tokenizer:
    """A tokenizer that pads and cuts to TEXT_LENGTH tokens and ends with </s>."""
    pieces = {"<pad>": 0.0, "</s>": 0.0, "<unk>": 0.0}
    pieces |= {f"<0x{byte:02X}>": _BYTE_SCORE for byte in range(256)}
    pieces |= {_SPACE + word: _WORD_SCORE for word in vocabulary()}
    pieces |= {char: _CHARACTER_SCORE for char in _CHARACTERS if char not in pieces}
    tokenizer = Tokenizer(models.Unigram(list(pieces.items()), unk_id=2, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Lowercase(),
            normalizers.Replace(",", " , "),
            normalizers.Replace(".", " . "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.enable_padding(pad_id=0, pad_token="<pad>", length=TEXT_LENGTH)
    tokenizer.enable_truncation(TEXT_LENGTH)
    return tokenizer


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """Token ids [N, TEXT_LENGTH], int64, 0 at padding."""
    return torch.tensor([encoding.ids for encoding in tokenizer.encode_batch(list(texts))])


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Writes tokenizer.json and the tokenizer_config.json that transformers reads."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": TEXT_LENGTH,
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "padding_side": "right",
        "truncation_side": "right",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
