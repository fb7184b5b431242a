"""A forward pass of diffusers' AutoencoderKLWan over whole clips, as 2-D convolutions, for training.

Weights and results are those of the model's own `encode` and `decode`, which go chunk by chunk through 3-D convolutions
that are slow at small widths, and keep state in the module. Inside, tensors are [B, T, H, W, C] contiguous. Supports
Wan2.1's blocks only. Knows nothing of losses or data.
"""

from typing import Any, Final

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad, scaled_dot_product_attention, silu

VAE_CONFIG: Final[dict[str, Any]] = {
    "base_dim": 16,
    "z_dim": 16,
    "dim_mult": [1, 2, 3],
    "num_res_blocks": 1,
    "temperal_downsample": [True, True],
    "patch_size": 2,
    "in_channels": 12,
    "out_channels": 12,
    "scale_factor_spatial": 8,
    "scale_factor_temporal": 4,
}


def make_vae(device: torch.device | str = "cpu", **changes: Any) -> AutoencoderKLWan:
    """The shipped model's VAE with initial weights. `changes` override VAE_CONFIG."""
    with torch.device(device):
        return AutoencoderKLWan(**{**VAE_CONFIG, **changes})


def normalize(x: Tensor, gain: Tensor, activate: bool) -> Tensor:
    """Wan's RMS norm over the last dimension, in float32. activate: whether SiLU follows."""
    wide = x.float()
    out = wide * torch.rsqrt(wide.square().sum(-1, keepdim=True).clamp_min(1e-24)) * gain
    return (silu(out) if activate else out).to(x.dtype)


def stack_three(x: Tensor) -> Tensor:
    """Stacks frames t−2, t−1 and t in the channels, with zeros before the clip."""
    frames = x.shape[1]
    padded = pad(x, (0, 0, 0, 0, 0, 0, 2, 0))
    return torch.cat([padded[:, i : i + frames] for i in range(3)], -1)


def normalize_and_stack(x: Tensor, gain: Tensor) -> Tensor:
    """The input of almost every causal convolution. Apart, because it is compiled."""
    return stack_three(normalize(x, gain, activate=True))


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int = 0, stride: int = 1) -> Tensor:
    """A 2-D convolution of every frame: [B, T, H, W, C] -> [B, T, H', W', C']."""
    batch, frames = x.shape[:2]
    out = conv2d(x.flatten(0, 1).permute(0, 3, 1, 2), weight, bias, padding=padding, stride=stride)
    return out.permute(0, 2, 3, 1).unflatten(0, (batch, frames))


def _flat_kernel(conv: Any) -> Tensor:
    outer, inner, time, height, width = conv.weight.shape
    return conv.weight.permute(0, 2, 1, 3, 4).reshape(outer, time * inner, height, width)


def _gain(norm: Any) -> Tensor:
    return norm.gamma.flatten() * norm.scale


class ClipVae:
    """Encodes and decodes whole clips with an AutoencoderKLWan's own parameters, differentiably.

    Args:
        compiled: fuses the normalisation before each convolution, with a graph for each number of channels.

    Raises ValueError for Wan2.2's residual blocks.
    """

    def __init__(self, vae: AutoencoderKLWan, compiled: bool = False) -> None:
        config: Any = vae.config
        if config.is_residual:
            raise ValueError("ClipVae supports Wan2.1's blocks only")
        self.vae = vae
        self._patch = config.patch_size or 1
        self._fused = torch.compile(normalize_and_stack) if compiled else normalize_and_stack
        self._compiled = compiled

    def encode(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Frames [B, 1 + 4k, 3, H, W] in [-1, 1] -> mean and log-variance [B, 1 + k, z, h, w], not normalised."""
        encoder: Any = self.vae.encoder
        x = self._causal(encoder.conv_in, self._split_patches(frames))
        for layer in encoder.down_blocks:
            x = self._residual(layer, x) if hasattr(layer, "conv1") else self._downsample(layer, x)
        x = self._norm_conv(encoder.norm_out, encoder.conv_out, self._middle(encoder.mid_block, x))
        x = self._causal(self.vae.quant_conv, x).permute(0, 1, 4, 2, 3).float()
        mean, log_variance = x.chunk(2, dim=2)
        return mean, log_variance.clamp(-30, 20)

    def decode(self, latents: Tensor) -> Tensor:
        """Raw latents [B, n, z, h, w] -> frames [B, 1 + 4 (n − 1), 3, H, W], not clamped."""
        decoder: Any = self.vae.decoder
        x = latents.permute(0, 1, 3, 4, 2).contiguous()
        x = self._causal(decoder.conv_in, self._causal(self.vae.post_quant_conv, x))
        x = self._middle(decoder.mid_block, x)
        for block in decoder.up_blocks:
            for resnet in block.resnets:
                x = self._residual(resnet, x)
            if block.upsamplers is not None:
                x = self._upsample(block.upsamplers[0], x)
        return self._join_patches(self._norm_conv(decoder.norm_out, decoder.conv_out, x))

    def _split_patches(self, frames: Tensor) -> Tensor:
        batch, count, channels, height, width = frames.shape
        p = self._patch
        x = frames.view(batch, count, channels, height // p, p, width // p, p).permute(0, 1, 3, 5, 2, 6, 4)
        return x.reshape(batch, count, height // p, width // p, channels * p * p)

    def _join_patches(self, x: Tensor) -> Tensor:
        batch, count, height, width, channels = x.shape
        p = self._patch
        x = x.view(batch, count, height, width, channels // (p * p), p, p).permute(0, 1, 4, 2, 6, 3, 5)
        return x.reshape(batch, count, channels // (p * p), height * p, width * p)

    def _causal(self, conv: Any, x: Tensor) -> Tensor:
        stacked = x if conv.weight.shape[2] == 1 else stack_three(x)
        return convolve(stacked, _flat_kernel(conv), conv.bias, conv.weight.shape[3] // 2)

    def _norm_conv(self, norm: Any, conv: Any, x: Tensor) -> Tensor:
        if self._compiled:  # one graph for any batch, length and frame size
            for dim in range(4):
                torch._dynamo.maybe_mark_dynamic(x, dim)
        return convolve(self._fused(x, _gain(norm)), _flat_kernel(conv), conv.bias, 1)

    def _residual(self, block: Any, x: Tensor) -> Tensor:
        skip = x if isinstance(block.conv_shortcut, nn.Identity) else self._causal(block.conv_shortcut, x)
        return self._norm_conv(block.norm2, block.conv2, self._norm_conv(block.norm1, block.conv1, x)) + skip

    def _attention(self, block: Any, x: Tensor) -> Tensor:
        batch, frames, height, width, channels = x.shape
        qkv = convolve(normalize(x, _gain(block.norm), activate=False), block.to_qkv.weight, block.to_qkv.bias)
        qkv = qkv.reshape(batch * frames, 1, height * width, 3 * channels)
        q, k, v = qkv.chunk(3, dim=-1)
        out = scaled_dot_product_attention(q, k, v).view(x.shape)
        return convolve(out, block.proj.weight, block.proj.bias) + x

    def _middle(self, block: Any, x: Tensor) -> Tensor:
        x = self._attention(block.attentions[0], self._residual(block.resnets[0], x))
        return self._residual(block.resnets[1], x)

    def _downsample(self, block: Any, x: Tensor) -> Tensor:
        conv = block.resample[1]
        x = convolve(pad(x, (0, 0, 0, 1, 0, 1)), conv.weight, conv.bias, stride=2)
        if block.mode != "downsample3d" or x.shape[1] == 1:
            return x
        last = x.shape[1]  # the first frame is kept; then frames (0, 1, 2), (2, 3, 4), … are merged
        triples = torch.cat([x[:, 0 : last - 2 : 2], x[:, 1 : last - 1 : 2], x[:, 2:last:2]], -1)
        return torch.cat([x[:, :1], convolve(triples, _flat_kernel(block.time_conv), block.time_conv.bias)], 1)

    def _upsample(self, block: Any, x: Tensor) -> Tensor:
        if block.mode == "upsample3d" and x.shape[1] > 1:  # the first frame is kept, the others are doubled
            doubled = self._causal(block.time_conv, x[:, 1:]).unflatten(-1, (2, -1))
            doubled = doubled.permute(0, 1, 4, 2, 3, 5).flatten(1, 2)
            x = torch.cat([x[:, :1], doubled], 1)
        batch, frames, height, width, channels = x.shape
        x = x[:, :, :, None, :, None].expand(batch, frames, height, 2, width, 2, channels)
        conv = block.resample[1]
        return convolve(x.reshape(batch, frames, 2 * height, 2 * width, channels), conv.weight, conv.bias, 1)
