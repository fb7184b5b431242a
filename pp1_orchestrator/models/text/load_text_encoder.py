"""Loads a UMT5 encoder, tensor by tensor, from a checkpoint in either layout or with random weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import torch

from pp1_orchestrator.models.checkpoints.random_weights import RandomWeights
from pp1_orchestrator.models.checkpoints.reader import (
    Shape,
    Weights,
    check_shapes,
    config_folder,
    open_weights,
    set_weight,
    shapes_of,
)
from pp1_orchestrator.models.checkpoints.stored_forms import with_scales
from pp1_orchestrator.models.text.int8 import Int8Linear, largest_error, replace_linears
from pp1_orchestrator.models.text.tokenizer import FolderTokenizer, TextTokenizer, tokenize_bytes, uses_bytes
from pp1_orchestrator.models.text.umt5 import TextEncoder
from pp1_orchestrator.models.text.umt5_state_dict import ALIAS, hf_names

if TYPE_CHECKING:
    from transformers.models.umt5 import UMT5EncoderModel

log = logging.getLogger(__name__)


class UMT5Sizes(TypedDict):
    """Sizes by transformers' names."""

    vocab_size: int
    d_model: int
    d_ff: int
    d_kv: int
    num_heads: int
    num_layers: int
    relative_attention_num_buckets: int
    relative_attention_max_distance: int


@dataclass(frozen=True, slots=True)
class TextSource:
    """Where an encoder comes from: a file or folder, or random weights if there is a seed.

    sizes: for weights without a config.json beside them. int8: linear layers are quantized.
    """

    weights: Path
    tokenizer: Path
    sizes: UMT5Sizes | None = None
    seed: int | None = None
    int8: bool = False


def make_umt5(source: TextSource, device: torch.device, dtype: torch.dtype) -> UMT5EncoderModel:
    """The encoder; `device` may be meta. Raises OSError for missing files and ValueError for another model's files."""
    model = _on_meta(source)
    expected = _expected_shapes(model)
    # UMT5 does not scale its attention scores, so its random queries are smaller.
    factors = {"SelfAttention.q.weight": model.config.d_kv**-0.5}
    random = None if source.seed is None else RandomWeights(expected, source.seed, factors)
    weights = random or with_scales(open_weights(source.weights))
    names = _check_names(expected, weights)
    if source.int8:
        replace_linears(model)
    for name, stored in names.items():
        layer, tensor = model.get_submodule(name.rpartition(".")[0]), weights.read(stored, device, dtype)
        if isinstance(layer, Int8Linear):
            layer.quantize(tensor)
        else:
            set_weight(model, name, tensor)
    model.set_input_embeddings(model.shared)  # pyright: ignore[reportUnknownMemberType]
    if source.int8:
        log.info("text encoder in int8: relative error of its weights up to %.2g", largest_error(model))
    return model


def check_text_encoder(source: TextSource) -> None:
    """Raises what `make_umt5` would raise about the files, without reading a tensor."""
    _check_names(_expected_shapes(_on_meta(source)), with_scales(open_weights(source.weights)))


def load_text_encoder(
    source: TextSource, length: int, device: torch.device, dtype: torch.dtype, result: torch.device | None = None
) -> TextEncoder:
    """The encoder for prompts of `length` tokens; embeddings go to `result`, else `device`. Raises as `make_umt5`."""
    model = make_umt5(source, device, dtype)
    return TextEncoder(model, _make_tokenizer(source, model.config.vocab_size), length, result or device)


def _on_meta(source: TextSource) -> UMT5EncoderModel:
    from transformers.models.umt5 import UMT5Config, UMT5EncoderModel  # takes seconds

    folder = config_folder(source.weights)
    kind: Any = UMT5Config
    if folder is not None:
        config = kind.from_pretrained(str(folder), local_files_only=True)
    elif source.sizes is not None:
        config = kind(**source.sizes, feed_forward_proj="gated-gelu")
    else:
        raise FileNotFoundError(f"{source.weights}: no config.json beside these weights")
    with torch.device("meta"):
        return UMT5EncoderModel(config).requires_grad_(False).eval()


def _expected_shapes(model: UMT5EncoderModel) -> dict[str, Shape]:
    return {name: shape for name, shape in shapes_of(model).items() if name != ALIAS}


def _check_names(expected: Mapping[str, Shape], weights: Weights) -> Mapping[str, str]:
    """Our names -> the file's. Raises ValueError for another model's weights."""
    shapes = weights.shapes()
    names = hf_names(shapes)
    check_shapes(weights.path, "text encoder", expected, {own: shapes[stored] for own, stored in names.items()})
    return names


def _make_tokenizer(source: TextSource, embeddings: int) -> TextTokenizer:
    """Raises OSError without one, and ValueError for one with numbers that the encoder has no embedding for."""
    if uses_bytes(source.tokenizer, random=source.seed is not None):
        log.warning("no tokenizer in %s: the bytes of a prompt are its tokens", source.tokenizer)
        return tokenize_bytes
    tokenizer = FolderTokenizer(source.tokenizer)
    if tokenizer.size > embeddings:
        raise ValueError(
            f"{source.tokenizer} has {tokenizer.size} tokens, and the text encoder in {source.weights} embeddings for "
            f"{embeddings}: they do not belong together"
        )
    return tokenizer
