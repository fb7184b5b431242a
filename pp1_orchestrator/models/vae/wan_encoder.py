"""The Wan VAE's encoder for the first frame of a stream, as two-dimensional convolutions.

Before the first frame a causal convolution sees zeros, so only the last time slice of its kernel matters, and temporal
downsampling starts with the second frame. What remains is an exact two-dimensional network with a third of the weights.
They are AutoencoderKLWan's; results agree with diffusers' `encode` to rounding. There is no state.
Shapes: C channels; everything inside is [1, C, H, W], channels last.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from pp1_orchestrator.models.vae.base import LatentModule, channels_last
from pp1_orchestrator.models.vae.layers import ChannelNorm, FrameAttention

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan


class _Conv(nn.Module):
    """A convolution [out, in, k, k] that keeps height and width."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone(memory_format=torch.channels_last), requires_grad=False)
        self.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
        self.padding = weight.shape[-1] // 2

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(x, self.weight, self.bias, padding=self.padding)


def _last_slice(conv: Any) -> _Conv:
    return _Conv(conv.weight[:, :, -1], conv.bias)


class _Downsample(nn.Module):
    """Halves height and width, padded on the right and below only."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.conv = _Conv(block.resample[1].weight, block.resample[1].bias)

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(pad(x, (0, 1, 0, 1)), self.conv.weight, self.conv.bias, stride=2)


class _ResidualBlock(nn.Module):
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
    from diffusers.models.autoencoders.autoencoder_kl_wan import WanAttentionBlock, WanResample, WanResidualBlock

    if isinstance(block, WanResidualBlock):
        return _ResidualBlock(block)
    if isinstance(block, WanAttentionBlock):
        return FrameAttention(block)
    if isinstance(block, WanResample):
        return _Downsample(block)
    raise ValueError(f"the frame encoder supports Wan2.1's encoder blocks only, not {type(block).__name__}")


def _network(vae: Any) -> Iterator[nn.Module]:
    """From a patchified frame to the mean of the posterior. The rows that make the variance are left out."""
    encoder, mid = vae.encoder, vae.encoder.mid_block
    yield _last_slice(encoder.conv_in)
    yield from (_layer(block) for block in encoder.down_blocks)
    yield from (_layer(block) for block in (mid.resnets[0], mid.attentions[0], mid.resnets[1]))
    yield from (ChannelNorm(encoder.norm_out), _last_slice(encoder.conv_out))
    z = vae.config.z_dim
    yield _Conv(vae.quant_conv.weight[:z, :, -1], vae.quant_conv.bias[:z])


class WanFrameEncoder(LatentModule):
    """Encodes single frames on the VAE's device, in its dtype. Raises ValueError for other blocks than Wan2.1's."""

    def __init__(self, vae: AutoencoderKLWan) -> None:
        config: Any = vae.config
        weight = next(vae.parameters())
        super().__init__(config.latents_mean, config.latents_std, weight.device)
        self.dtype, self.device = weight.dtype, weight.device
        self.patch = config.patch_size or 1
        self.network = nn.Sequential(*_network(vae))

    @torch.inference_mode()
    def encode(self, frame: Tensor) -> Tensor:
        """Pixels [3, H, W] in −1…1 -> the mean of the posterior, normalised, [1, z, h, w] float32."""
        c, height, width = frame.shape
        p, h, w = self.patch, height // self.patch, width // self.patch
        # Inside a patch the order is channel, column, row.
        patches = frame.view(c, h, p, w, p).permute(0, 4, 2, 1, 3).reshape(1, c * p * p, h, w)
        x = channels_last(patches.to(self.device, self.dtype))
        return (self.network(x).float() - self.mean) / self.std
