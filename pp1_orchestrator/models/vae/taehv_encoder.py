"""TAEHV's encoder, for streams and for single frames.

Each level merges frames into one, halves height and width, and has memory blocks, which see the frame before. All
frames of a chunk go through them together, and a stream keeps only the last input frame of each block.
Shapes: T frames, C channels; everything is [T, C, H, W].
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import relu_

from pp1_orchestrator.models.vae.base import ConvCache, EncodeState, channels_last, count_latents
from pp1_orchestrator.models.vae.layers import convolve
from pp1_orchestrator.models.vae.taehv import (
    BLOCKS,
    FRAMES_PER_LATENT,
    FRAMES_TO_TRIM,
    TIME_DOWNSCALE,
    Conv,
    MemoryBlock,
    TaehvModule,
    TaehvWeights,
    encoder_index,
    read_conv,
)


class Downsample(nn.Module):
    """Merges each `frames` frames into one, then halves height and width."""

    def __init__(self, weights: TaehvWeights, index: int, frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.merge = Conv(weights.read(f"encoder.{index}.conv.weight"), None)
        self.conv = Conv(weights.read(f"encoder.{index + 1}.weight"), None)

    def forward(self, x: Tensor, cache: ConvCache) -> Tensor:
        grouped = channels_last(x.reshape(len(x) // self.frames, -1, *x.shape[2:]))
        return convolve(self.merge(grouped), self.conv.weight, None, stride=2)


def _encoder_layers(weights: TaehvWeights) -> Iterator[nn.Module]:
    for level, frames in enumerate(TIME_DOWNSCALE):
        index = encoder_index(level)
        yield Downsample(weights, index, frames)
        yield from (MemoryBlock(weights, f"encoder.{index + 2 + block}") for block in range(BLOCKS))


class TaehvEncoder(TaehvModule):
    """Encodes streams on the device of its weights. A stream's first frame is repeated to fill one latent frame.

    A started state without entries is a stream of whole latent frames, as TAEHV itself has them.
    """

    def __init__(self, weights: TaehvWeights, raw_latents: bool) -> None:
        super().__init__(raw_latents, weights.device)
        self.conv_in, self.conv_out = read_conv(weights, "encoder.0"), read_conv(weights, "encoder.17")
        self.layers, self.per_latent = nn.ModuleList(_encoder_layers(weights)), FRAMES_PER_LATENT

    @torch.inference_mode()
    def encode(self, frames: Tensor, state: EncodeState) -> Tensor:
        count_latents(len(frames), state.started, FRAMES_PER_LATENT)
        weight = self.conv_in.weight
        pixels = frames.to(weight.device, torch.float32).add(1).div(2).to(weight.dtype)
        if not state.started:
            state.started, pixels = True, torch.cat([pixels[:1].expand(FRAMES_TO_TRIM, -1, -1, -1), pixels])
        return (self(pixels, state).float() - self.mean) / self.std

    def forward(self, pixels: Tensor, state: EncodeState) -> Tensor:
        """The part that `torch.compile` compiles: 4F frames in 0…1 -> the model's latents [F, z, h, w]."""
        cache = ConvCache(state)
        x = relu_(self.conv_in(channels_last(pixels)))
        for layer in self.layers:
            x = layer(x, cache)
        return self.conv_out(x)


class TaehvFrameEncoder:
    """Encodes single frames, each as a stream's first."""

    def __init__(self, encoder: TaehvEncoder) -> None:
        self._encoder = encoder

    @property
    def weight_bytes(self) -> int:
        return self._encoder.weight_bytes

    def encode(self, frame: Tensor) -> Tensor:
        return self._encoder.encode(frame[None], EncodeState())
