"""Settings of models' sizes. All values come from `conf/`."""

from typing import Annotated

from msgspec import Meta, Struct

from pp1_orchestrator.config.bounds import Positive


class SizeSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The transformer's sizes, by Wan2.1's names. text_dim, text_len: width and tokens of a prompt's embedding."""

    dim: Positive
    ffn_dim: Positive
    num_heads: Positive
    num_layers: Positive
    freq_dim: Positive
    text_dim: Positive
    text_len: Positive


class TextSizeSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The text encoder's sizes, for weights without sizes. vocab: at least a token for each byte, and three more."""

    vocab: Annotated[int, Meta(ge=259)]
    dim: Positive
    ffn_dim: Positive
    num_heads: Positive
    head_dim: Positive
    num_layers: Positive
    buckets: Positive
    distance: Positive
