"""The Wan VAE's encoder for one picture that begins a stream, as two-dimensional convolutions.

A causal convolution sees zeros before the first frame, so only the last time slice of its kernel takes part, and the
downsampling in time starts with the second frame. What is left is an exact two-dimensional network, a third of the
weights. Those are AutoencoderKLWan's; results agree with diffusers' `encode` to rounding. No state is read or kept.
Shapes: C channels; everything inside is [1, C, H, W], channels last.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanAttentionBlock, WanResample, WanResidualBlock
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from pp1_orchestrator.models.vae.layers import ChannelNorm, FrameAttention

_LAST = torch.channels_last


class _Conv(nn.Module):
    """A convolution's weights [out, in, k, k] (of the last time slice, if it has time), padded to keep the size."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone(memory_format=_LAST), requires_grad=False)
        self.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
        self.padding = weight.shape[-1] // 2

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(x, self.weight, self.bias, padding=self.padding)


def _last_slice(conv: Any) -> _Conv:
    return _Conv(conv.weight[:, :, -1], conv.bias)


class _Downsample(nn.Module):
    """Half the height and width, padded on the right and below only."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.conv = _Conv(block.resample[1].weight, block.resample[1].bias)

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(pad(x, (0, 1, 0, 1)), self.conv.weight, self.conv.bias, stride=2)


class _EncoderResidual(nn.Module):
    def __init__(self, block: Any) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ChannelNorm(block.norm1), _last_slice(block.conv1), ChannelNorm(block.norm2), _last_slice(block.conv2)
        )
        identity = isinstance(block.conv_shortcut, nn.Identity)
        self.shortcut = block.conv_shortcut if identity else _last_slice(block.conv_shortcut)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).add_(self.shortcut(x))


def _layer(block: nn.Module) -> nn.Module:
    if isinstance(block, WanResidualBlock):
        return _EncoderResidual(block)
    if isinstance(block, WanAttentionBlock):
        return FrameAttention(block)
    if isinstance(block, WanResample):
        return _Downsample(block)
    raise ValueError(f"the frame encoder knows Wan2.1's encoder blocks only, not {type(block).__name__}")


def _network(vae: Any) -> Iterator[nn.Module]:
    """From a patchified picture to the mean of the posterior; the rows that make the variance are left out."""
    encoder, mid = vae.encoder, vae.encoder.mid_block
    yield _last_slice(encoder.conv_in)
    yield from (_layer(block) for block in encoder.down_blocks)
    yield from (_layer(block) for block in (mid.resnets[0], mid.attentions[0], mid.resnets[1]))
    yield from (ChannelNorm(encoder.norm_out), _last_slice(encoder.conv_out))
    z = vae.config.z_dim
    yield _Conv(vae.quant_conv.weight[:z, :, -1], vae.quant_conv.bias[:z])


class FrameEncoder(nn.Module):
    """Encodes single pictures on the VAE's device. Raises ValueError for a VAE whose blocks it does not know."""

    mean: Tensor
    std: Tensor

    def __init__(self, vae: AutoencoderKLWan) -> None:
        super().__init__()
        config: Any = vae.config
        self.patch = config.patch_size or 1
        self.network = nn.Sequential(*_network(vae))
        weight, shape = next(vae.parameters()), (1, -1, 1, 1)
        self.dtype, self.device = weight.dtype, weight.device
        self.register_buffer("mean", torch.tensor(config.latents_mean, device=weight.device).view(shape))
        self.register_buffer("std", torch.tensor(config.latents_std, device=weight.device).view(shape))

    @property
    def weight_bytes(self) -> int:
        return sum(p.nbytes for p in self.parameters())

    @torch.inference_mode()
    def encode(self, frame: Tensor) -> Tensor:
        """Pixels [3, H, W] in −1…1 -> the mean of the posterior, normalised, [1, z, h, w] float32."""
        c, height, width = frame.shape
        p, h, w = self.patch, height // self.patch, width // self.patch
        # Inside a patch the order is channel, column, row.
        patches = frame.view(c, h, p, w, p).permute(0, 4, 2, 1, 3).reshape(1, c * p * p, h, w)
        x = patches.to(self.device, self.dtype).contiguous(memory_format=_LAST)
        return (self.network(x).float() - self.mean) / self.std
