"""TAEHV's encoder for one picture that begins a stream, repeated to the four that it makes one latent of.

Knows nothing of streams; no state is read or kept. Shapes: T frames, C channels; everything inside is [T, C, H, W].
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, relu_

from pp1_orchestrator.models.checkpoints.taehv_layout import BLOCKS, POOLING, TaehvFile
from pp1_orchestrator.models.vae.base import DecodeState, History
from pp1_orchestrator.models.vae.taehv import Conv, MemoryBlock, last, read_conv, wan_scale

_REPEATED = 4


class _Pool(nn.Module):
    """One frame of `frames`, then half the height and width."""

    def __init__(self, file: TaehvFile, index: int, frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.pool = Conv(file.read(f"encoder.{index}.conv.weight"), None)
        self.conv = Conv(file.read(f"encoder.{index + 1}.weight"), None)

    def forward(self, x: Tensor, history: History) -> Tensor:
        together = last(x.reshape(len(x) // self.frames, -1, *x.shape[2:]))
        return conv2d(self.pool(together), self.conv.weight, stride=2, padding=1)


def _layers(file: TaehvFile) -> Iterator[nn.Module]:
    for level, frames in enumerate(POOLING):
        index = 2 + 5 * level
        yield _Pool(file, index, frames)
        yield from (MemoryBlock(file, f"encoder.{index + 2 + block}") for block in range(BLOCKS))


class TinyFrameEncoder(nn.Module):
    """Encodes single pictures on the file's device. scaled: as for `TinyDecoder`."""

    mean: Tensor
    std: Tensor

    def __init__(self, file: TaehvFile, scaled: bool) -> None:
        super().__init__()
        self.conv_in, self.conv_out = read_conv(file, "encoder.0"), read_conv(file, "encoder.17")
        self.layers = nn.ModuleList(_layers(file))
        mean, std = wan_scale(scaled, file.device)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    @property
    def weight_bytes(self) -> int:
        return sum(p.nbytes for p in self.parameters())

    @torch.inference_mode()
    def encode(self, frame: Tensor) -> Tensor:
        weight = self.conv_in.weight
        picture = frame.to(weight.device, torch.float32).add(1).div(2).to(weight.dtype)
        history = History(DecodeState())
        x = relu_(self.conv_in(last(picture.expand(_REPEATED, -1, -1, -1))))
        for layer in self.layers:
            x = layer(x, history)
        return (self.conv_out(x).float() - self.mean) / self.std
