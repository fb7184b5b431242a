"""Makes a UMT5 encoder from a file in either layout or from random numbers, tensor by tensor, in 16 or 8 bits."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import UMT5Config, UMT5EncoderModel

from pp1_orchestrator.models.checkpoints.random_weights import RandomWeights
from pp1_orchestrator.models.checkpoints.reader import (
    Shape,
    Weights,
    check_shapes,
    config_folder,
    open_weights,
    place,
    shapes_of,
)
from pp1_orchestrator.models.text.int8 import largest_error, use_int8
from pp1_orchestrator.models.text.tokenizer import ByteTokenizer, FolderTokenizer, TextTokenizer
from pp1_orchestrator.models.text.umt5 import TextEncoder
from pp1_orchestrator.models.text.umt5_state_dict import ALIAS, hf_names

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TextSizes:
    """Of a UMT5 encoder, where no config.json tells them. buckets, distance: of relative positions."""

    vocab: int
    dim: int
    ffn_dim: int
    num_heads: int
    head_dim: int
    num_layers: int
    buckets: int
    distance: int


@dataclass(frozen=True, slots=True)
class TextSource:
    """Where an encoder comes from. weights: a file or folder. seed: of random weights, None for those of the files."""

    weights: Path
    tokenizer: Path
    sizes: TextSizes | None = None
    seed: int | None = None
    int8: bool = False


def make_umt5(source: TextSource, device: torch.device, dtype: torch.dtype) -> UMT5EncoderModel:
    """The encoder, on the meta device too. Raises OSError when files are missing, ValueError for another model's."""
    model = _on_meta(source)
    expected = {name: shape for name, shape in shapes_of(model).items() if name != ALIAS}
    weights: Weights
    if source.seed is None:
        weights = open_weights(source.weights)
    else:
        # UMT5 does not divide its scores by the root of the width; its queries are that much smaller.
        weights = RandomWeights(expected, source.seed, {"SelfAttention.q.weight": model.config.d_kv**-0.5})
    names = _checked(expected, weights)
    if source.int8:
        use_int8(model)
    place(model, weights, names, device, dtype)
    model.set_input_embeddings(model.shared)
    if source.int8:
        log.info("text encoder in 8 bits: its weights are off by up to %.2g of their norm", largest_error(model))
    return model


def check_text_encoder(source: TextSource) -> None:
    """Raise what `make_umt5` would of files, without reading a weight."""
    expected = {name: shape for name, shape in shapes_of(_on_meta(source)).items() if name != ALIAS}
    _checked(expected, open_weights(source.weights))


def load_text_encoder(
    source: TextSource, length: int, device: torch.device, dtype: torch.dtype, result: torch.device | None = None
) -> TextEncoder:
    """The encoder of `source` for prompts of `length` tokens. result: where embeddings are wanted, if not on `device`.

    Raises OSError and ValueError.
    """
    model = make_umt5(source, device, dtype)
    return TextEncoder(model, _tokenizer(source), length, result or device)


def umt5_config(source: TextSource) -> UMT5Config:
    """Of the config.json beside the weights, if it is a UMT5's; else of the sizes."""
    folder, sizes = config_folder(source.weights), source.sizes
    if folder is not None:
        return UMT5Config.from_pretrained(str(folder), local_files_only=True)
    if sizes is None:
        raise FileNotFoundError(f"{source.weights}: no config.json beside these weights")
    return UMT5Config(
        vocab_size=sizes.vocab,
        d_model=sizes.dim,
        d_ff=sizes.ffn_dim,
        d_kv=sizes.head_dim,
        num_heads=sizes.num_heads,
        num_layers=sizes.num_layers,
        relative_attention_num_buckets=sizes.buckets,
        relative_attention_max_distance=sizes.distance,
        feed_forward_proj="gated-gelu",
    )


def _on_meta(source: TextSource) -> Any:
    with torch.device("meta"):
        return UMT5EncoderModel(umt5_config(source)).requires_grad_(False).eval()


def _checked(expected: Mapping[str, Shape], weights: Weights) -> Mapping[str, str]:
    """Our names -> the file's. Raises ValueError when it is another model's."""
    shapes = weights.shapes()
    names = hf_names(shapes)
    check_shapes(weights.path, "text encoder", expected, {own: shapes[stored] for own, stored in names.items()})
    return names


def _tokenizer(source: TextSource) -> TextTokenizer:
    if source.seed is not None and not source.tokenizer.is_dir():
        log.warning("no tokenizer in %s: the bytes of a prompt are its tokens", source.tokenizer)
        return ByteTokenizer()
    return FolderTokenizer(source.tokenizer)
