"""The Wan VAE's layers that look at one frame at a time, as the fast decoder and the frame encoder need them.

Built from diffusers' modules, with AutoencoderKLWan's weights. Knows nothing of time, streams or state.
Shapes: T frames, C channels; everything is [T, C, H, W].
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu


class ChannelNorm(nn.Module):
    """Wan's channel normalisation, with SiLU after it or without; in float32 at least."""

    def __init__(self, norm: Any, activate: bool = True) -> None:
        super().__init__()
        self.activate = activate
        self.gain = nn.Parameter((norm.gamma * norm.scale).detach().reshape(1, -1, 1, 1).clone(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        length = torch.linalg.vector_norm(wide, dim=1, keepdim=True).clamp_min_(1e-12)
        y = (wide / length).to(x.dtype).mul_(self.gain)
        return silu(y, inplace=True) if self.activate else y


class FrameAttention(nn.Module):
    """Attention among the pixels of one frame."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.norm, self.to_qkv, self.proj = ChannelNorm(block.norm, activate=False), block.to_qkv, block.proj

    def forward(self, x: Tensor) -> Tensor:
        t, c, h, w = x.shape
        qkv = self.to_qkv(self.norm(x)).permute(0, 2, 3, 1).reshape(t, 1, h * w, 3 * c)
        out = scaled_dot_product_attention(*qkv.chunk(3, dim=-1)).reshape(t, h, w, c)
        return self.proj(out.permute(0, 3, 1, 2)) + x
