"""The Wan VAE's encoder as two-dimensional convolutions, for streams and for single frames.

As in `wan_decoder.py`, a causal 3×3×3 convolution is a 3×3 convolution over three neighbouring frames, stacked in the
channels, and all frames of a chunk go through it together. Before a stream's first frame a causal convolution sees
zeros, so for that frame only the last time slice of each kernel matters, and temporal downsampling starts after it:
it is encoded apart, by a network with a third of the weights. To encode single frames, only these are kept.
Weights are AutoencoderKLWan's; results agree with diffusers' `encode` to rounding. On a CPU they are bit-equal however
a stream is cut into chunks. Shapes: T frames, C channels; everything inside is [T, C, H, W], channels last.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from pp1_orchestrator.models.vae.base import (
    ConvCache,
    EncodeState,
    LatentModule,
    NoCache,
    channels_last,
    count_latents,
)
from pp1_orchestrator.models.vae.layers import ChannelNorm, FrameAttention, convolve

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan


class _Conv(nn.Module):
    """A convolution of each frame by itself, that keeps height and width by default."""

    def __init__(self, weight: Tensor, bias: Tensor, stride: int = 1, padding: int | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone(memory_format=torch.channels_last), requires_grad=False)
        self.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
        self.stride, self.padding = stride, weight.shape[-1] // 2 if padding is None else padding

    def forward(self, x: Tensor, cache: ConvCache) -> Tensor:
        if cache.started:
            return convolve(x, self.weight, self.bias, self.stride, self.padding)
        return conv2d(x, self.weight, self.bias, self.stride, self.padding)


class _CausalConv(nn.Module):
    """A causal convolution over time.

    slices: how many of its kernel's time slices are kept, the newest ones. A single frame needs one.
    """

    def __init__(self, conv: Any, slices: int) -> None:
        super().__init__()
        out, self.inner, _, kernel, _ = conv.weight.shape
        self.slices, newest = slices, conv.weight.detach()[:, :, -slices:]
        stacked = newest.permute(0, 2, 1, 3, 4).reshape(out, slices * self.inner, kernel, kernel)
        self.weight = nn.Parameter(stacked.clone(memory_format=torch.channels_last), requires_grad=False)
        self.bias = nn.Parameter(conv.bias.detach().clone(), requires_grad=False)

    def forward(self, x: Tensor, cache: ConvCache) -> Tensor:
        index, past = cache.slot()
        if past is None:
            cache.store(index, x)
            newest = channels_last(self.weight[:, -self.inner :])
            return conv2d(x, newest, self.bias, padding=newest.shape[-1] // 2)
        before = self.slices - 1 - len(past)  # the stream's start is that near
        frames = torch.cat([channels_last(x.new_zeros((before, *x.shape[1:]))), past, x])
        cache.store(index, frames[1 - self.slices :])
        stacked = torch.cat([frames[i : i + len(x)] for i in range(self.slices)], dim=1)
        return convolve(stacked, self.weight, self.bias)


class _TimeDownsample(nn.Module):
    """Makes one frame of each two and the one before them. A stream's first frame is kept as it is."""

    def __init__(self, conv: Any) -> None:
        super().__init__()
        stacked = conv.weight.permute(0, 2, 1, 3, 4).flatten(1, 2)
        self.conv = _Conv(stacked, conv.bias)

    def forward(self, x: Tensor, cache: ConvCache) -> Tensor:
        index, past = cache.slot()
        if past is None:
            cache.store(index, x)
            return x
        frames = torch.cat([past, x])
        cache.store(index, frames[-1:])
        return self.conv(torch.cat([frames[0:-2:2], frames[1:-1:2], frames[2::2]], dim=1), cache)


class _Downsample(nn.Module):
    """Halves height and width, padded on the right and below only, and in some blocks the number of frames."""

    def __init__(self, block: Any, single: bool) -> None:
        super().__init__()
        self.conv = _Conv(block.resample[1].weight, block.resample[1].bias, stride=2, padding=0)
        in_time = block.mode == "downsample3d" and not single
        self.time = _TimeDownsample(block.time_conv) if in_time else None

    def forward(self, x: Tensor, cache: ConvCache) -> Tensor:
        x = self.conv(pad(x, (0, 1, 0, 1)), cache)
        return x if self.time is None else self.time(x, cache)


class _ResidualBlock(nn.Module):
    def __init__(self, block: Any, slices: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = ChannelNorm(block.norm1), _CausalConv(block.conv1, slices)
        self.norm2, self.conv2 = ChannelNorm(block.norm2), _CausalConv(block.conv2, slices)
        skip = block.conv_shortcut
        self.shortcut = None if isinstance(skip, nn.Identity) else _Conv(skip.weight[:, :, -1], skip.bias)

    def forward(self, x: Tensor, cache: ConvCache) -> Tensor:
        y = self.conv2(self.norm2(self.conv1(self.norm1(x), cache)), cache)
        return y.add_(x if self.shortcut is None else self.shortcut(x, cache))


def _layer(block: nn.Module, single: bool) -> nn.Module:
    from diffusers.models.autoencoders.autoencoder_kl_wan import WanAttentionBlock, WanResample, WanResidualBlock

    if isinstance(block, WanResidualBlock):
        return _ResidualBlock(block, 1 if single else 3)
    if isinstance(block, WanAttentionBlock):
        return FrameAttention(block)
    if isinstance(block, WanResample):
        return _Downsample(block, single)
    raise ValueError(f"the frame encoder supports Wan2.1's encoder blocks only, not {type(block).__name__}")


def _layers(vae: Any, single: bool) -> Iterator[nn.Module]:
    """From patchified frames to the mean of the posterior. The rows that make the variance are left out."""
    encoder, mid, slices = vae.encoder, vae.encoder.mid_block, 1 if single else 3
    yield _CausalConv(encoder.conv_in, slices)
    yield from (_layer(block, single) for block in encoder.down_blocks)
    yield from (_layer(block, single) for block in (mid.resnets[0], mid.attentions[0], mid.resnets[1]))
    yield from (ChannelNorm(encoder.norm_out), _CausalConv(encoder.conv_out, slices))
    z = vae.config.z_dim
    yield _Conv(vae.quant_conv.weight[:z, :, -1], vae.quant_conv.bias[:z])


class _WanEncoder(LatentModule):
    """On the VAE's device, in its dtype. single: for single frames.

    Raises ValueError for other blocks than Wan2.1's.
    """

    def __init__(self, vae: AutoencoderKLWan, single: bool) -> None:
        config: Any = vae.config
        weight = next(vae.parameters())
        super().__init__(config.latents_mean, config.latents_std, weight.device)
        self.dtype, self.device = weight.dtype, weight.device
        self.patch, self.per_latent = config.patch_size or 1, 2 ** sum(config.temperal_downsample)
        self.layers = nn.ModuleList(_layers(vae, single))

    def latents(self, frames: Tensor, cache: ConvCache) -> Tensor:
        """Pixels [T, 3, H, W] in the VAE's dtype -> latents that are not normalised."""
        t, c, height, width = frames.shape
        p, h, w = self.patch, height // self.patch, width // self.patch
        # Inside a patch the order is channel, column, row.
        patches = frames.view(t, c, h, p, w, p).permute(0, 1, 5, 3, 2, 4).reshape(t, c * p * p, h, w)
        x = channels_last(patches)
        for layer in self.layers:
            x = layer(x) if isinstance(layer, FrameAttention | ChannelNorm) else layer(x, cache)
        return x

    def normalized(self, latents: Tensor) -> Tensor:
        """In float32."""
        return (latents.float() - self.mean) / self.std


class WanEncoder(_WanEncoder):
    """Encodes streams. The means of the posterior are the latents."""

    def __init__(self, vae: AutoencoderKLWan) -> None:
        super().__init__(vae, single=False)

    @torch.inference_mode()
    def encode(self, frames: Tensor, state: EncodeState) -> Tensor:
        count_latents(len(frames), state.started, self.per_latent)
        x, parts = frames.to(self.device, self.dtype), list[Tensor]()
        if not state.started:
            parts.append(self(x[:1], state))
            state.started, x = True, x[1:]
        if len(x):
            parts.append(self(x, state))
        return self.normalized(torch.cat(parts))

    def forward(self, frames: Tensor, state: EncodeState) -> Tensor:
        """The part that `torch.compile` compiles."""
        return self.latents(frames, ConvCache(state))


class WanFrameEncoder(_WanEncoder):
    """Encodes single frames, each as a stream's first, with a third of the weights."""

    def __init__(self, vae: AutoencoderKLWan) -> None:
        super().__init__(vae, single=True)

    @torch.inference_mode()
    def encode(self, frame: Tensor) -> Tensor:
        """Pixels [3, H, W] in −1…1 -> the mean of the posterior, normalised, [1, z, h, w] float32."""
        return self.normalized(self.latents(frame[None].to(self.device, self.dtype), NoCache()))
