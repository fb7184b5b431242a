"""Maps tensor names of the UMT5 encoder in Wan's own files to Hugging Face's, which are ours. Knows names only."""

import re
from collections.abc import Iterable, Mapping

EMBEDDING = "shared.weight"
"""The word embeddings; `ALIAS` is the encoder's own name for the same table."""
ALIAS = "encoder.embed_tokens.weight"
_UNUSED = ("decoder.", "lm_head.")
"""The rest of a whole UMT5."""
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
    """Our name -> the file's, for every tensor of the encoder in a file of either layout."""
    names = {to_hugging_face(name): name for name in stored if not name.startswith(_UNUSED)}
    alias = names.pop(ALIAS, None)
    if alias is not None:
        names.setdefault(EMBEDDING, alias)
    return names


def to_hugging_face(name: str) -> str:
    """Hugging Face's name of a tensor in Wan's file; an unknown name is returned unchanged."""
    if name in _ENDS:
        return _ENDS[name]
    match = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
    if match is None or match[2] not in _BLOCK:
        return name
    return f"encoder.block.{match[1]}.layer.{_BLOCK[match[2]]}"
