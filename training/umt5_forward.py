"""The UMT5 encoder's forward pass in a form that compiles to one graph, with the results of transformers' own.

Source: T5, arXiv:1910.10683; UMT5 has a relative position bias in every layer.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu
from transformers.models.umt5 import UMT5EncoderModel

_MASKED = -1e9


def position_buckets(text: UMT5EncoderModel, length: int) -> Tensor:
    """The bucket of every pair of positions, [length, length], on the model's device."""
    position = torch.arange(length)
    encoder: Any = text.encoder
    attention = encoder.block[0].layer[0].SelfAttention
    return attention._relative_position_bucket(position[None] - position[:, None]).to(text.device)


def _rms_norm(x: Tensor, norm: Any) -> Tensor:
    wide = x.float()
    return wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + norm.variance_epsilon) * norm.weight


def _attend(attention: Any, x: Tensor, buckets: Tensor, mask: Tensor) -> Tensor:
    heads = (attention.n_heads, -1)
    q, k, v = (layer(x).unflatten(-1, heads).transpose(1, 2) for layer in (attention.q, attention.k, attention.v))
    bias = attention.relative_attention_bias(buckets).permute(2, 0, 1)[None] + mask
    weights = torch.softmax((q @ k.transpose(-1, -2)).float() + bias, -1).to(v.dtype)
    return attention.o((weights @ v).transpose(1, 2).flatten(-2))


def encode_tokens(text: UMT5EncoderModel, tokens: Tensor, buckets: Tensor) -> Tensor:
    """Token ids [N, L], 0 = padding -> embeddings [N, L, text_dim] float32, zero at padding."""
    real = tokens != 0
    mask = torch.where(real, 0.0, _MASKED)[:, None, None]
    encoder: Any = text.encoder
    x = encoder.embed_tokens(tokens).float()
    for block in encoder.block:
        attention, feed_forward = block.layer
        normed = _rms_norm(x, attention.layer_norm)
        x = x + _attend(attention.SelfAttention, normed, buckets, mask)
        normed = _rms_norm(x, feed_forward.layer_norm)
        dense = feed_forward.DenseReluDense
        x = x + dense.wo(gelu(dense.wi_0(normed), approximate="tanh") * dense.wi_1(normed))
    return _rms_norm(x, encoder.final_layer_norm) * real[..., None]
