"""A tiny autoencoder for Wan's latents (TAEHV), streaming: much faster than the VAE, and less exact.

Its memory blocks see the frame before; a chunk's frames go through them at once, and of a stream only each block's last
frame is kept. Where the picture grows, upstream repeats pixels, makes frames of channels by a 1×1 convolution and then
convolves; all three are linear, so here they are one convolution before the growth, with its weights made beforehand.
Shapes: T frames, C channels; everything is [T, C, H, W], channels last.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor, nn
from torch.nn.functional import relu_

from pp1_orchestrator.models.checkpoints.taehv_layout import BLOCKS, GROWTH, TaehvFile
from pp1_orchestrator.models.vae.base import DecodeState, History
from pp1_orchestrator.models.vae.layers import convolve

_LAST = torch.channels_last
_RANGE = 3.0
"""Latents are pressed into −3…3."""
_TRIMMED = 3
"""Frames that a stream's first latent gives too many, at their front."""
# Of a 3-tap kernel on pixels that are each there twice, what falls on the pixel before, on it and after it.
_PHASES = ([[1.0, 0, 0], [0, 1, 1], [0, 0, 0]], [[0.0, 0, 0], [1, 1, 0], [0, 0, 1]])


def last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=_LAST)


class Conv(nn.Module):
    """A convolution that keeps height and width."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(last(weight), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return convolve(x, self.weight, self.bias)


def read_conv(file: TaehvFile, name: str) -> Conv:
    return Conv(file.read(f"{name}.weight"), file.read(f"{name}.bias"))


class MemoryBlock(nn.Module):
    """Three convolutions over a frame and the one before it, around a skip."""

    def __init__(self, file: TaehvFile, name: str) -> None:
        super().__init__()
        self.first, self.second, self.third = (read_conv(file, f"{name}.conv.{place}") for place in (0, 2, 4))

    def forward(self, x: Tensor, history: History) -> Tensor:
        index, past = history.take()
        if past is None:
            past = torch.zeros_like(x[:1])
        history.keep(index, x[-1:])
        both = last(torch.cat([x, torch.cat([past, x[:-1]])], dim=1))
        return relu_(self.third(relu_(self.second(relu_(self.first(both))))).add_(x))


class Growth(nn.Module):
    """Twice the height and width, and `frames` frames of one."""

    def __init__(self, grow: Tensor, weight: Tensor, frames: int, dtype: torch.dtype) -> None:
        """grow: [frames · C, C, 1, 1]; weight: [out, C, 3, 3], both in float32 for making one of them."""
        super().__init__()
        self.frames, self.out = frames, weight.shape[0]
        phases = torch.tensor(_PHASES, dtype=weight.dtype, device=weight.device)
        each = grow[..., 0, 0].unflatten(0, (frames, -1))
        merged = torch.einsum("ocij,fcd,ali,bmj->fabodlm", weight, each, phases, phases)
        self.weight = nn.Parameter(last(merged.flatten(0, 3).to(dtype)), requires_grad=False)

    def forward(self, x: Tensor, history: History) -> Tensor:
        t, _, h, w = x.shape
        y = convolve(x, self.weight, None).permute(0, 2, 3, 1).reshape(t, h, w, self.frames, 2, 2, self.out)
        y = y.permute(0, 3, 1, 4, 2, 5, 6).reshape(t * self.frames, 2 * h, 2 * w, self.out)
        return y.permute(0, 3, 1, 2)


def _layers(file: TaehvFile) -> Iterator[nn.Module]:
    for level, frames in enumerate(GROWTH):
        index = 3 + 6 * level
        yield from (MemoryBlock(file, f"decoder.{index + block}") for block in range(BLOCKS))
        grow, weight = f"decoder.{index + BLOCKS + 1}.conv.weight", f"decoder.{index + BLOCKS + 2}.weight"
        yield Growth(file.read(grow, torch.float32), file.read(weight, torch.float32), frames, file.dtype)


class TinyDecoder(nn.Module):
    """Streaming decoder for any device, in the file's dtype.

    scaled: whether it was made for latents with Wan's mean and deviation put back, or for normalised ones.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, file: TaehvFile, scaled: bool) -> None:
        super().__init__()
        self.conv_in = read_conv(file, "decoder.1")
        self.layers = nn.ModuleList(_layers(file))
        self.conv_out = read_conv(file, "decoder.22")
        mean, std = wan_scale(scaled, file.device)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    @property
    def weight_bytes(self) -> int:
        return sum(p.nbytes for p in self.parameters())

    @torch.inference_mode()
    def decode(self, latents: Tensor, state: DecodeState) -> Tensor:
        z = (latents.to(self.mean.device).float() * self.std + self.mean).to(self.conv_in.weight.dtype)
        pixels = self(z, state)
        if not state.started:
            state.started, pixels = True, pixels[_TRIMMED:]
        return pixels.float()

    def forward(self, z: Tensor, state: DecodeState) -> Tensor:
        """z: latents as it was made for, [F, z, h, w]; four frames for each. What `torch.compile` is given."""
        history = History(state)
        x = relu_(self.conv_in(torch.tanh(last(z) / _RANGE) * _RANGE))
        for layer in self.layers:
            x = layer(x, history)
        return self.conv_out(relu_(x)).clamp_(0, 1).mul_(2).sub_(1)


def wan_scale(scaled: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and deviation of Wan's latents, [1, z, 1, 1]; 0 and 1 where they do not count."""
    shape = (1, -1, 1, 1)
    defaults = inspect.signature(AutoencoderKLWan.__init__).parameters
    mean, std = (
        torch.tensor(defaults[name].default, device=device).view(shape) for name in ("latents_mean", "latents_std")
    )
    return (mean, std) if scaled else (torch.zeros_like(mean), torch.ones_like(std))
