"""The Wan VAE's layers that see one frame at a time, shared by the decoder and the frame encoder.

Built from diffusers' modules with AutoencoderKLWan's weights. Knows nothing of time, streams or state.
Shapes: T frames, C channels; everything is [T, C, H, W].
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, scaled_dot_product_attention, silu

from pp1_orchestrator.typed_torch import vector_norm


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int = 1, padding: int | None = None) -> Tensor:
    """A convolution that keeps height and width by default, with the same kernel for any number of frames.

    For a single small frame (batch 1, at most 20480 values), `conv2d` uses another kernel than oneDNN's. That sums in
    another order, so the last bits of a frame would depend on how many frames it is decoded with.
    """
    padding = weight.shape[-1] // 2 if padding is None else padding
    if x.device.type == "cpu" and x.dtype == torch.float32 and torch.backends.mkldnn.is_available():
        return torch.mkldnn_convolution(x, weight, bias, (padding, padding), (stride, stride), (1, 1), 1)
    return conv2d(x, weight, bias, stride, padding)


class ChannelNorm(nn.Module):
    """Wan's RMS norm over channels, in float32 or wider. activate: whether SiLU follows."""

    def __init__(self, norm: Any, activate: bool = True) -> None:
        super().__init__()
        self.activate = activate
        self.gain = nn.Parameter((norm.gamma * norm.scale).detach().reshape(1, -1, 1, 1).clone(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        norm = vector_norm(wide, dim=1, keepdim=True).clamp_min_(1e-12)
        y = (wide / norm).to(x.dtype).mul_(self.gain)
        if not self.activate:
            return y
        if y.device.type != "cpu":
            return silu(y, inplace=True)
        # Frame by frame: on a CPU, SiLU rounds the last few values of a call differently from the others.
        for frame in y:
            silu(frame, inplace=True)
        return y


class FrameAttention(nn.Module):
    """Attention among the pixels of one frame."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.norm, self.to_qkv, self.proj = ChannelNorm(block.norm, activate=False), block.to_qkv, block.proj

    def forward(self, x: Tensor) -> Tensor:
        t, c, h, w = x.shape
        qkv = convolve(self.norm(x), self.to_qkv.weight, self.to_qkv.bias)
        q, k, v = qkv.permute(0, 2, 3, 1).reshape(t, 1, h * w, 3 * c).chunk(3, dim=-1)
        out = scaled_dot_product_attention(q, k, v).reshape(t, h, w, c)
        return convolve(out.permute(0, 3, 1, 2), self.proj.weight, self.proj.bias) + x
