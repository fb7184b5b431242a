"""Names of UMT5's encoder's tensors: those of Wan's own files, and those of Hugging Face, ours.

Knows names only. A whole UMT5 holds a decoder and a head as well, which nobody needs here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

EMBEDDING = "shared.weight"
"""The one table of word embeddings; the encoder's own name for it is `ALIAS`."""
ALIAS = "encoder.embed_tokens.weight"
_UNUSED = ("decoder.", "lm_head.")
_ENDS = {"token_embedding.weight": EMBEDDING, "norm.weight": "encoder.final_layer_norm.weight"}
_BLOCK = {
    "norm1.weight": "0.layer_norm.weight",
    "norm2.weight": "1.layer_norm.weight",
    "attn.q.weight": "0.SelfAttention.q.weight",
    "attn.k.weight": "0.SelfAttention.k.weight",
    "attn.v.weight": "0.SelfAttention.v.weight",
    "attn.o.weight": "0.SelfAttention.o.weight",
    "pos_embedding.embedding.weight": "0.SelfAttention.relative_attention_bias.weight",
    "ffn.gate.0.weight": "1.DenseReluDense.wi_0.weight",
    "ffn.fc1.weight": "1.DenseReluDense.wi_1.weight",
    "ffn.fc2.weight": "1.DenseReluDense.wo.weight",
}


def hf_names(stored: Iterable[str]) -> Mapping[str, str]:
    """Our name -> the file's, for every tensor of the encoder that a file holds, in either layout."""
    ours = {to_hugging_face(name): name for name in stored if not name.startswith(_UNUSED)}
    alias = ours.pop(ALIAS, None)
    if alias is not None:
        ours.setdefault(EMBEDDING, alias)
    return ours


def to_hugging_face(name: str) -> str:
    """Hugging Face's name of a tensor of Wan's file; an unknown name stays what it is."""
    if name in _ENDS:
        return _ENDS[name]
    match = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
    if match is None or match[2] not in _BLOCK:
        return name
    return f"encoder.block.{match[1]}.layer.{_BLOCK[match[2]]}"
