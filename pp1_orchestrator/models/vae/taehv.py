"""TAEHV, a tiny autoencoder for Wan's latents: its streaming decoder, faster and less exact than the VAE.

Reads `taew2_1.pth`, `lighttaew2_1.pth` and files with other widths. A memory block sees the frame before. All frames
of a chunk go through it together, and a stream keeps only its last input frame. To upsample, upstream repeats pixels,
expands channels to frames by a 1×1 convolution, and convolves. All three are linear, so here they are one convolution
at the lower resolution, whose weights are computed at load time.
Shapes: T frames, C channels; everything is [T, C, H, W].
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import relu_

from pp1_orchestrator.models.checkpoints.reader import CPU, Shape, Weights, check_shapes
from pp1_orchestrator.models.vae.base import ConvCache, DecodeState, LatentModule, channels_last
from pp1_orchestrator.models.vae.layers import convolve

LATENT_CHANNELS, PIXEL_CHANNELS = 16, 3
BLOCKS = 3
"""Memory blocks at each resolution."""
TIME_UPSCALE = (1, 2, 2)
"""Frames that each level of the decoder makes of one."""
TIME_DOWNSCALE = (2, 2, 1)
"""Frames that each level of the encoder merges into one."""
FRAMES_PER_LATENT = 4
FRAMES_TO_TRIM = FRAMES_PER_LATENT - 1
"""Surplus frames at the start of a stream, whose first latent frame is one pixel frame."""
LATENT_LIMIT = 3.0
"""Latents are softly limited to −3…3."""
# A 3-tap kernel on doubled pixels as a kernel on the original ones, for the first and the second pixel of each pair:
# which taps fall on the pixel before, on the pixel itself and on the pixel after.
_PHASES = ([[1.0, 0, 0], [0, 1, 1], [0, 0, 0]], [[0.0, 0, 0], [1, 1, 0], [0, 0, 1]])


def _conv_shapes(name: str, out: int, inner: int) -> dict[str, Shape]:
    return {f"{name}.weight": (out, inner, 3, 3), f"{name}.bias": (out,)}


def _block_shapes(name: str, wide: int) -> dict[str, Shape]:
    first, second, third = (f"{name}.conv.{index}" for index in (0, 2, 4))
    return _conv_shapes(first, wide, 2 * wide) | _conv_shapes(second, wide, wide) | _conv_shapes(third, wide, wide)


def decoder_shapes(widths: Sequence[int]) -> dict[str, Shape]:
    """The decoder's tensors. widths: channels of the three levels, and after them."""
    shapes = _conv_shapes("decoder.1", widths[0], LATENT_CHANNELS)
    for level, upscale in enumerate(TIME_UPSCALE):
        wide, index = widths[level], _decoder_index(level)
        for block in range(BLOCKS):
            shapes |= _block_shapes(f"decoder.{index + block}", wide)
        shapes[f"decoder.{index + BLOCKS + 1}.conv.weight"] = (wide * upscale, wide, 1, 1)
        shapes[f"decoder.{index + BLOCKS + 2}.weight"] = (widths[level + 1], wide, 3, 3)
    return shapes | _conv_shapes("decoder.22", PIXEL_CHANNELS, widths[-1])


def encoder_shapes(wide: int) -> dict[str, Shape]:
    """The encoder's tensors. wide: channels of all its levels, which is the decoder's last width."""
    shapes = _conv_shapes("encoder.0", wide, PIXEL_CHANNELS)
    for level, downscale in enumerate(TIME_DOWNSCALE):
        index = encoder_index(level)
        shapes[f"encoder.{index}.conv.weight"] = (wide, wide * downscale, 1, 1)
        shapes[f"encoder.{index + 1}.weight"] = (wide, wide, 3, 3)
        for block in range(BLOCKS):
            shapes |= _block_shapes(f"encoder.{index + 2 + block}", wide)
    return shapes | _conv_shapes("encoder.17", LATENT_CHANNELS, wide)


def taehv_shapes(widths: Sequence[int], with_encoder: bool) -> dict[str, Shape]:
    """The tensors of the decoder, and of the encoder if it is needed."""
    return decoder_shapes(widths) | (encoder_shapes(widths[-1]) if with_encoder else {})


def _decoder_index(level: int) -> int:
    """The first memory block of a level. After the blocks come an upsampling, a 1×1 and a 3×3 convolution."""
    return 3 + (BLOCKS + 3) * level


def encoder_index(level: int) -> int:
    """The pooling of a level. A convolution and the memory blocks follow."""
    return 2 + (BLOCKS + 2) * level


class TaehvWeights:
    """The checked tensors of a TAEHV. Raises ValueError for another model's weights.

    Files of decoders that can upscale time at every level have more output channels than are used. The last ones count.
    If `expected` has only the decoder's tensors, the file's encoder is ignored. `dtype` is that of the computation.
    """

    def __init__(
        self,
        weights: Weights,
        expected: Mapping[str, Shape],
        device: torch.device = CPU,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._weights, self._expected = weights, expected
        self.device, self.dtype = device, dtype
        with_encoder = any(key.startswith("encoder.") for key in expected)
        stored = weights.shapes()
        self._stored = {key: shape for key, shape in stored.items() if with_encoder or not key.startswith("encoder.")}
        check_shapes(weights.path, "TAEHV", expected, {key: self._used_shape(key) for key in self._stored})

    def read(self, key: str, dtype: torch.dtype | None = None) -> Tensor:
        """A tensor in `dtype`, or that of the computation."""
        stored, used = self._stored[key][0], self._expected[key][0]
        rows = slice(stored - used, stored) if stored > used else None
        return self._weights.read(key, self.device, dtype or self.dtype, rows)

    def _used_shape(self, key: str) -> Shape:
        shape, expected = self._stored[key], self._expected.get(key)
        upscales = key.startswith("decoder.") and key.endswith(".conv.weight")
        if upscales and expected is not None and shape[1:] == expected[1:] and shape[0] % expected[0] == 0:
            return expected
        return shape


class Conv(nn.Module):
    """A convolution that keeps height and width."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(channels_last(weight), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return convolve(x, self.weight, self.bias)


def read_conv(weights: TaehvWeights, name: str) -> Conv:
    return Conv(weights.read(f"{name}.weight"), weights.read(f"{name}.bias"))


class MemoryBlock(nn.Module):
    """A residual block of three convolutions over a frame and the one before it."""

    def __init__(self, weights: TaehvWeights, name: str) -> None:
        super().__init__()
        self.first, self.second, self.third = (read_conv(weights, f"{name}.conv.{index}") for index in (0, 2, 4))

    def forward(self, x: Tensor, cache: ConvCache) -> Tensor:
        index, past = cache.slot()
        if past is None:
            past = torch.zeros_like(x[:1])
        cache.store(index, x[-1:])
        both = channels_last(torch.cat([x, torch.cat([past, x[:-1]])], dim=1))
        return relu_(self.third(relu_(self.second(relu_(self.first(both))))).add_(x))


class Upsample(nn.Module):
    """Doubles height and width, and makes `frames` frames of each, as one convolution.

    expand, weight: upstream's two convolutions, [frames · C, C, 1, 1] and [out, C, 3, 3], float32.
    """

    def __init__(self, expand: Tensor, weight: Tensor, frames: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.frames, self.out = frames, weight.shape[0]
        phases = torch.tensor(_PHASES, dtype=weight.dtype, device=weight.device)
        by_frame = torch.unflatten(expand[..., 0, 0], 0, (frames, -1))
        merged = torch.einsum("ocij,fcd,ali,bmj->fabodlm", weight, by_frame, phases, phases)
        self.weight = nn.Parameter(channels_last(merged.flatten(0, 3).to(dtype)), requires_grad=False)

    def forward(self, x: Tensor, cache: ConvCache) -> Tensor:
        t, _, h, w = x.shape
        y = convolve(x, self.weight, None).permute(0, 2, 3, 1).reshape(t, h, w, self.frames, 2, 2, self.out)
        y = y.permute(0, 3, 1, 4, 2, 5, 6).reshape(t * self.frames, 2 * h, 2 * w, self.out)
        return y.permute(0, 3, 1, 2)


def _decoder_layers(weights: TaehvWeights) -> Iterator[nn.Module]:
    for level, frames in enumerate(TIME_UPSCALE):
        index = _decoder_index(level)
        yield from (MemoryBlock(weights, f"decoder.{index + block}") for block in range(BLOCKS))
        expand, conv = f"decoder.{index + BLOCKS + 1}.conv.weight", f"decoder.{index + BLOCKS + 2}.weight"
        yield Upsample(weights.read(expand, torch.float32), weights.read(conv, torch.float32), frames, weights.dtype)


class TaehvModule(LatentModule):
    """raw_latents: whether the model's latents have Wan's mean and deviation, instead of being normalised."""

    def __init__(self, raw_latents: bool, device: torch.device) -> None:
        from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan  # takes seconds

        defaults = inspect.signature(AutoencoderKLWan.__init__).parameters
        mean, std = (defaults[name].default for name in ("latents_mean", "latents_std"))
        super().__init__(*((mean, std) if raw_latents else ([0.0] * len(mean), [1.0] * len(std))), device)


class TaehvDecoder(TaehvModule):
    """Streaming decoder for any device, in the dtype of its weights."""

    def __init__(self, weights: TaehvWeights, raw_latents: bool) -> None:
        super().__init__(raw_latents, weights.device)
        self.conv_in = read_conv(weights, "decoder.1")
        self.layers = nn.ModuleList(_decoder_layers(weights))
        self.conv_out = read_conv(weights, "decoder.22")

    @torch.inference_mode()
    def decode(self, latents: Tensor, state: DecodeState) -> Tensor:
        z = (latents.to(self.mean.device).float() * self.std + self.mean).to(self.conv_in.weight.dtype)
        pixels = self(z, state)
        if not state.started:
            state.started, pixels = True, pixels[FRAMES_TO_TRIM:]
        return pixels.float()

    def forward(self, z: Tensor, state: DecodeState) -> Tensor:
        """The part that `torch.compile` compiles: the model's latents [F, z, h, w] -> 4F frames."""
        cache = ConvCache(state)
        x = relu_(self.conv_in(torch.tanh(channels_last(z) / LATENT_LIMIT) * LATENT_LIMIT))
        for layer in self.layers:
            x = layer(x, cache)
        return self.conv_out(relu_(x)).clamp_(0, 1).mul_(2).sub_(1)
