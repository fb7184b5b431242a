"""The Wan VAE's decoder as two-dimensional convolutions: faster than three-dimensional ones on CPUs and GPUs.

A causal 3×3×3 convolution over time is one 3×3 convolution over three neighbouring frames, side by side in the
channels. oneDNN and cuDNN have fast kernels for that in channels-last order, and a chunk's latent frames go through
them at once. The weights are AutoencoderKLWan's; results agree with diffusers' decoder to rounding, and on a CPU with
each other bit for bit, however a stream is cut into pieces.
Shapes: T frames, C channels; everything is [T, C, H, W], channels last.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor, nn
from torch.nn.functional import interpolate

from pp1_orchestrator.models.vae.base import ConvCache, DecodeState
from pp1_orchestrator.models.vae.layers import ChannelNorm, FrameAttention, convolve

_LAST = torch.channels_last


class _CausalConv(nn.Module):
    """A causal convolution over time; kernel 1 in time needs no history."""

    def __init__(self, conv: Any) -> None:
        super().__init__()
        out, inner, self.time, kernel, _ = conv.weight.shape
        stacked = conv.weight.detach().permute(0, 2, 1, 3, 4).reshape(out, self.time * inner, kernel, kernel)
        self.weight = nn.Parameter(stacked.contiguous(memory_format=_LAST), requires_grad=False)
        self.bias = nn.Parameter(conv.bias.detach().clone(), requires_grad=False)

    def forward(self, x: Tensor, history: ConvCache) -> Tensor:
        if self.time > 1:
            index, past = history.take()
            if past is None:
                past = x.new_zeros((self.time - 1, *x.shape[1:])).contiguous(memory_format=_LAST)
            frames = torch.cat([past, x])
            history.keep(index, frames[-(self.time - 1) :])
            x = torch.cat([frames[i : i + len(x)] for i in range(self.time)], dim=1)
        return convolve(x, self.weight, self.bias)


class _Residual(nn.Module):
    def __init__(self, block: Any) -> None:
        super().__init__()
        self.norm1, self.conv1 = ChannelNorm(block.norm1), _CausalConv(block.conv1)
        self.norm2, self.conv2 = ChannelNorm(block.norm2), _CausalConv(block.conv2)
        identity = isinstance(block.conv_shortcut, nn.Identity)
        self.shortcut = None if identity else _CausalConv(block.conv_shortcut)

    def forward(self, x: Tensor, history: ConvCache) -> Tensor:
        skip = x if self.shortcut is None else self.shortcut(x, history)
        y = self.conv1(self.norm1(x), history)
        return self.conv2(self.norm2(y), history).add_(skip)


class _Memoryless(nn.Module):
    """A layer that looks at one frame at a time and has no history."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, history: ConvCache) -> Tensor:
        return self.layer(x)


class _Upsample(nn.Module):
    """Twice the height and width; in time too, except for a stream's first latent frame."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.time_conv = _CausalConv(block.time_conv) if block.mode == "upsample3d" else None
        self.conv = block.resample[1]

    def forward(self, x: Tensor, history: ConvCache) -> Tensor:
        if self.time_conv is not None:
            x = self._double_time(x, self.time_conv, history)
        return convolve(interpolate(x, scale_factor=2.0, mode="nearest-exact"), self.conv.weight, self.conv.bias)

    def _double_time(self, x: Tensor, conv: _CausalConv, history: ConvCache) -> Tensor:
        index, flag = history.take()
        if flag is None:
            history.keep(index, x[:0])
            history.take()
            return x
        t, c, h, w = x.shape
        return conv(x, history).view(t, 2, c, h, w).reshape(2 * t, c, h, w).contiguous(memory_format=_LAST)


def _layers(decoder: Any) -> Iterator[nn.Module]:
    yield _Residual(decoder.mid_block.resnets[0])
    yield _Memoryless(FrameAttention(decoder.mid_block.attentions[0]))
    yield _Residual(decoder.mid_block.resnets[1])
    for block in decoder.up_blocks:
        yield from (_Residual(resnet) for resnet in block.resnets)
        if block.upsamplers is not None:
            yield _Upsample(block.upsamplers[0])


class StackedDecoder(nn.Module):
    """Streaming decoder for any device, in the VAE's dtype. Raises ValueError for Wan2.2's blocks, which it lacks."""

    mean: Tensor
    std: Tensor

    def __init__(self, vae: AutoencoderKLWan) -> None:
        super().__init__()
        config: Any = vae.config
        if config.is_residual:
            raise ValueError("the stacked decoder knows Wan2.1's decoder blocks only")
        self.patch = config.patch_size or 1
        self.post_quant, self.conv_in = _CausalConv(vae.post_quant_conv), _CausalConv(vae.decoder.conv_in)
        layers: Any = nn.ModuleList(_layers(vae.decoder))
        self.layers = layers.to(memory_format=_LAST)
        self.norm_out, self.conv_out = ChannelNorm(vae.decoder.norm_out), _CausalConv(vae.decoder.conv_out)
        shape = (1, -1, 1, 1)
        device = self.conv_in.weight.device
        self.register_buffer("mean", torch.tensor(config.latents_mean, device=device).view(shape))
        self.register_buffer("std", torch.tensor(config.latents_std, device=device).view(shape))

    @property
    def weight_bytes(self) -> int:
        return sum(p.nbytes for p in self.parameters())

    @torch.inference_mode()
    def decode(self, latents: Tensor, state: DecodeState) -> Tensor:
        z = (latents.to(self.std.device).float() * self.std + self.mean).to(self.conv_in.weight.dtype)
        if state.started:
            return self(z, state).float()
        state.started = True
        first = self(z[:1], state)
        return (first if len(z) == 1 else torch.cat([first, self(z[1:], state)])).float()

    def forward(self, z: Tensor, state: DecodeState) -> Tensor:
        """z: latents as the VAE has them, [F, z, h, w]; pixels in its dtype. What `torch.compile` is given."""
        history = ConvCache(state)
        x = self.conv_in(self.post_quant(z.contiguous(memory_format=_LAST), history), history)
        for layer in self.layers:
            x = layer(x, history)
        x = self.conv_out(self.norm_out(x), history)
        t, c, h, w = x.shape
        channels, p = c // (self.patch * self.patch), self.patch
        # Inside a patch the order is channel, column, row.
        pixels = x.reshape(t, channels, p, p, h, w).permute(0, 1, 4, 3, 5, 2)
        return pixels.reshape(t, channels, h * p, w * p).clamp_(-1, 1)
