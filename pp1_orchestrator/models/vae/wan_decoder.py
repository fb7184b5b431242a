"""The Wan VAE's decoder as two-dimensional convolutions, faster than three-dimensional ones on CPUs and GPUs.

A causal 3×3×3 convolution over time is a 3×3 convolution over three neighbouring frames, stacked in the channels.
oneDNN and cuDNN have fast kernels for that in channels-last order, and all latent frames of a chunk go through them
together. Weights are AutoencoderKLWan's. Results agree with diffusers' decoder to rounding. On a CPU they are bit-equal
however a stream is cut into chunks.
Shapes: T frames, C channels; everything is [T, C, H, W], channels last.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from pp1_orchestrator.models.vae.base import ConvCache, DecodeState, LatentModule, channels_last
from pp1_orchestrator.models.vae.layers import ChannelNorm, FrameAttention, convolve

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan


class CausalConv(nn.Module):
    """A causal convolution over time. With a temporal kernel of 1 it needs no cache."""

    def __init__(self, conv: Any) -> None:
        super().__init__()
        out, inner, self.time, kernel, _ = conv.weight.shape
        stacked = conv.weight.detach().permute(0, 2, 1, 3, 4).reshape(out, self.time * inner, kernel, kernel)
        self.weight = nn.Parameter(channels_last(stacked), requires_grad=False)
        self.bias = nn.Parameter(conv.bias.detach().clone(), requires_grad=False)

    def forward(self, x: Tensor, cache: ConvCache) -> Tensor:
        if self.time > 1:
            index, past = cache.slot()
            if past is None:
                past = channels_last(x.new_zeros((self.time - 1, *x.shape[1:])))
            frames = torch.cat([past, x])
            cache.store(index, frames[-(self.time - 1) :])
            x = torch.cat([frames[i : i + len(x)] for i in range(self.time)], dim=1)
        return convolve(x, self.weight, self.bias)


class _ResidualBlock(nn.Module):
    def __init__(self, block: Any) -> None:
        super().__init__()
        self.norm1, self.conv1 = ChannelNorm(block.norm1), CausalConv(block.conv1)
        self.norm2, self.conv2 = ChannelNorm(block.norm2), CausalConv(block.conv2)
        identity = isinstance(block.conv_shortcut, nn.Identity)
        self.shortcut = None if identity else CausalConv(block.conv_shortcut)

    def forward(self, x: Tensor, cache: ConvCache) -> Tensor:
        skip = x if self.shortcut is None else self.shortcut(x, cache)
        y = self.conv1(self.norm1(x), cache)
        return self.conv2(self.norm2(y), cache).add_(skip)


class _Upsample(nn.Module):
    """Doubles height and width, and in some blocks the number of frames, except for a stream's first latent frame."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.time_conv = CausalConv(block.time_conv) if block.mode == "upsample3d" else None
        self.conv = block.resample[1]

    def forward(self, x: Tensor, cache: ConvCache) -> Tensor:
        if self.time_conv is not None:
            x = self._double_frames(x, self.time_conv, cache)
        return convolve(interpolate(x, scale_factor=2.0, mode="nearest-exact"), self.conv.weight, self.conv.bias)

    def _double_frames(self, x: Tensor, conv: CausalConv, cache: ConvCache) -> Tensor:
        index, started = cache.slot()
        if started is None:
            cache.store(index, x[:0])
            cache.slot()  # that of `conv`
            return x
        t, c, h, w = x.shape
        return channels_last(conv(x, cache).view(t, 2, c, h, w).reshape(2 * t, c, h, w))


def _layers(decoder: Any) -> Iterator[nn.Module]:
    yield _ResidualBlock(decoder.mid_block.resnets[0])
    yield FrameAttention(decoder.mid_block.attentions[0])
    yield _ResidualBlock(decoder.mid_block.resnets[1])
    for block in decoder.up_blocks:
        yield from (_ResidualBlock(resnet) for resnet in block.resnets)
        if block.upsamplers is not None:
            yield _Upsample(block.upsamplers[0])


class WanDecoder(LatentModule):
    """Streaming decoder for any device, in the VAE's dtype. Raises ValueError for Wan2.2's residual blocks."""

    def __init__(self, vae: AutoencoderKLWan) -> None:
        config: Any = vae.config
        super().__init__(config.latents_mean, config.latents_std, next(vae.parameters()).device)
        if config.is_residual:
            raise ValueError("this decoder supports Wan2.1's decoder blocks only")
        self.patch = config.patch_size or 1
        self.post_quant, self.conv_in = CausalConv(vae.post_quant_conv), CausalConv(vae.decoder.conv_in)
        layers: Any = nn.ModuleList(_layers(vae.decoder))
        self.layers = layers.to(memory_format=torch.channels_last)
        self.norm_out, self.conv_out = ChannelNorm(vae.decoder.norm_out), CausalConv(vae.decoder.conv_out)

    @torch.inference_mode()
    def decode(self, latents: Tensor, state: DecodeState) -> Tensor:
        z = (latents.to(self.std.device).float() * self.std + self.mean).to(self.conv_in.weight.dtype)
        if state.started:
            return self(z, state).float()
        state.started = True
        first = self(z[:1], state)
        return (first if len(z) == 1 else torch.cat([first, self(z[1:], state)])).float()

    def forward(self, z: Tensor, state: DecodeState) -> Tensor:
        """The part that `torch.compile` compiles: denormalised latents [F, z, h, w] -> pixels in the VAE's dtype."""
        cache = ConvCache(state)
        x = self.conv_in(self.post_quant(channels_last(z), cache), cache)
        for layer in self.layers:
            x = layer(x) if isinstance(layer, FrameAttention) else layer(x, cache)
        x = self.conv_out(self.norm_out(x), cache)
        t, c, h, w = x.shape
        channels, p = c // (self.patch * self.patch), self.patch
        # Inside a patch the order is channel, column, row.
        pixels = x.reshape(t, channels, p, p, h, w).permute(0, 1, 4, 3, 5, 2)
        return pixels.reshape(t, channels, h * p, w * p).clamp_(-1, 1)
