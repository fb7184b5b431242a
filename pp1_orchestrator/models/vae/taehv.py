"""Names and shapes of a TAEHV's tensors (`taew2_1.pth`, `lighttaew2_1.pth`), from its widths.

Knows which layers there are, in which order; what they compute is `models.vae.taehv`'s to know.

A tiny autoencoder for Wan's latents (TAEHV), streaming: much faster than the VAE, and less exact.

Its memory blocks see the frame before; a chunk's frames go through them at once, and of a stream only each block's last
frame is kept. Where the picture grows, upstream repeats pixels, makes frames of channels by a 1×1 convolution and then
convolves; all three are linear, so here they are one convolution before the growth, with its weights made beforehand.
Shapes: T frames, C channels; everything is [T, C, H, W], channels last.

TAEHV's encoder for one picture that begins a stream, repeated to the four that it makes one latent of.

Knows nothing of streams; no state is read or kept. Shapes: T frames, C channels; everything inside is [T, C, H, W].
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor, nn
from torch.nn.functional import conv2d, relu_

from pp1_orchestrator.models.checkpoints.reader import CPU, Shape, Weights, check_shapes
from pp1_orchestrator.models.vae.base import ConvCache, DecodeState
from pp1_orchestrator.models.vae.layers import convolve

LATENT, PICTURE = 16, 3
BLOCKS = 3
"""Memory blocks in a row, at each size of the picture."""
GROWTH = (1, 2, 2)
"""Frames that the decoder makes of one, after the first, second and third row of blocks."""
POOLING = (2, 2, 1)
"""Frames that the encoder makes one of, before each row of blocks."""


def decoder_shapes(widths: Sequence[int]) -> dict[str, Shape]:
    """widths: channels of the three rows of blocks, and of what comes after them."""
    shapes = dict(_conv("decoder.1", widths[0], LATENT))
    for level, growth in enumerate(GROWTH):
        wide, index = widths[level], 3 + 6 * level
        for block in range(BLOCKS):
            shapes |= _block(f"decoder.{index + block}", wide)
        shapes[f"decoder.{index + BLOCKS + 1}.conv.weight"] = (wide * growth, wide, 1, 1)
        shapes[f"decoder.{index + BLOCKS + 2}.weight"] = (widths[level + 1], wide, 3, 3)
    return shapes | dict(_conv("decoder.22", PICTURE, widths[-1]))


def taehv_shapes(widths: Sequence[int], with_encoder: bool) -> dict[str, Shape]:
    """Of the decoder, and of the encoder if it is needed."""
    return decoder_shapes(widths) | (encoder_shapes(widths[-1]) if with_encoder else {})


def encoder_shapes(wide: int) -> dict[str, Shape]:
    """wide: channels of every row of blocks, the last of the decoder's."""
    shapes = dict(_conv("encoder.0", wide, PICTURE))
    for level, pooling in enumerate(POOLING):
        index = 2 + 5 * level
        shapes[f"encoder.{index}.conv.weight"] = (wide, wide * pooling, 1, 1)
        shapes[f"encoder.{index + 1}.weight"] = (wide, wide, 3, 3)
        for block in range(BLOCKS):
            shapes |= _block(f"encoder.{index + 2 + block}", wide)
    return shapes | dict(_conv("encoder.17", LATENT, wide))


class TaehvFile:
    """The tensors of a file, checked. Raises ValueError when it is another file.

    Where a growing layer makes more frames of one than needed, its last frames' channels are the ones.
    """

    def __init__(
        self,
        weights: Weights,
        expected: Mapping[str, Shape],
        device: torch.device = CPU,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """expected: of both halves, or of the decoder alone; then an encoder in the file is left there."""
        self._weights, self._expected = weights, expected
        self.device, self.dtype = device, dtype
        both = any(key.startswith("encoder.") for key in expected)
        stored = weights.shapes()
        self._stored = {key: shape for key, shape in stored.items() if both or not key.startswith("encoder.")}
        check_shapes(weights.path, "TAEHV", expected, {key: self._cut(key) for key in self._stored})

    def read(self, key: str, dtype: torch.dtype | None = None) -> Tensor:
        """dtype None: the one that is computed in."""
        stored, wanted = self._stored[key][0], self._expected[key][0]
        rows = slice(stored - wanted, stored) if stored > wanted else None
        return self._weights.read(key, self.device, dtype or self.dtype, rows)

    def _cut(self, key: str) -> Shape:
        """The shape after cutting."""
        shape, wanted = self._stored[key], self._expected.get(key)
        grows = key.startswith("decoder.") and key.endswith(".conv.weight")
        if grows and wanted is not None and shape[1:] == wanted[1:] and shape[0] % wanted[0] == 0:
            return wanted
        return shape


def _conv(name: str, out: int, inner: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (out, inner, 3, 3)
    yield f"{name}.bias", (out,)


def _block(name: str, wide: int) -> dict[str, Shape]:
    inner = {0: 2 * wide, 2: wide, 4: wide}
    return {key: shape for place, into in inner.items() for key, shape in _conv(f"{name}.conv.{place}", wide, into)}


_LAST = torch.channels_last
_RANGE = 3.0
"""Latents are pressed into −3…3."""
_TRIMMED = 3
"""Frames that a stream's first latent gives too many, at their front."""
# Of a 3-tap kernel on pixels that are each there twice, what falls on the pixel before, on it and after it.
_PHASES = ([[1.0, 0, 0], [0, 1, 1], [0, 0, 0]], [[0.0, 0, 0], [1, 1, 0], [0, 0, 1]])


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=_LAST)


class Conv(nn.Module):
    """A convolution that keeps height and width."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(channels_last(weight), requires_grad=False)
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

    def forward(self, x: Tensor, history: ConvCache) -> Tensor:
        index, past = history.take()
        if past is None:
            past = torch.zeros_like(x[:1])
        history.keep(index, x[-1:])
        both = channels_last(torch.cat([x, torch.cat([past, x[:-1]])], dim=1))
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
        self.weight = nn.Parameter(channels_last(merged.flatten(0, 3).to(dtype)), requires_grad=False)

    def forward(self, x: Tensor, history: ConvCache) -> Tensor:
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


class TaehvDecoder(nn.Module):
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
        history = ConvCache(state)
        x = relu_(self.conv_in(torch.tanh(channels_last(z) / _RANGE) * _RANGE))
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


_REPEATED = 4


class _Pool(nn.Module):
    """One frame of `frames`, then half the height and width."""

    def __init__(self, file: TaehvFile, index: int, frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.pool = Conv(file.read(f"encoder.{index}.conv.weight"), None)
        self.conv = Conv(file.read(f"encoder.{index + 1}.weight"), None)

    def forward(self, x: Tensor, history: ConvCache) -> Tensor:
        together = channels_last(x.reshape(len(x) // self.frames, -1, *x.shape[2:]))
        return conv2d(self.pool(together), self.conv.weight, stride=2, padding=1)


def _encoder_layers(file: TaehvFile) -> Iterator[nn.Module]:
    for level, frames in enumerate(POOLING):
        index = 2 + 5 * level
        yield _Pool(file, index, frames)
        yield from (MemoryBlock(file, f"encoder.{index + 2 + block}") for block in range(BLOCKS))


class TaehvFrameEncoder(nn.Module):
    """Encodes single pictures on the file's device. scaled: as for `TaehvDecoder`."""

    mean: Tensor
    std: Tensor

    def __init__(self, file: TaehvFile, scaled: bool) -> None:
        super().__init__()
        self.conv_in, self.conv_out = read_conv(file, "encoder.0"), read_conv(file, "encoder.17")
        self.layers = nn.ModuleList(_encoder_layers(file))
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
        history = ConvCache(DecodeState())
        x = relu_(self.conv_in(channels_last(picture.expand(_REPEATED, -1, -1, -1))))
        for layer in self.layers:
            x = layer(x, history)
        return (self.conv_out(x).float() - self.mean) / self.std
