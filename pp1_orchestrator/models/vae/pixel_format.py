"""Converts decoded pixels to the bytes that video encoders take, in host memory.

RGB suits the encoders' own converters on a CPU; yuv420p is half as many bytes. Shapes: T frames of H by W, both even.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

LUMA = (0.299, 0.587, 0.114)
"""BT.601 luma weights of red, green and blue."""
BLUE_SCALE, RED_SCALE = 1.772, 1.402
"""BT.601 chroma scales: 2·(1 − Kb), 2·(1 − Kr)."""

PixelFormat = Callable[[Tensor], Tensor]
"""Converts pixels [T, 3, H, W] in −1…1 to contiguous uint8 frames on the same device."""


def to_rgb24(pixels: Tensor) -> Tensor:
    """Pixels [T, 3, H, W] in −1…1 -> uint8 [T, H, W, 3], contiguous, on the same device."""
    return pixels.add(1).mul(127.5).round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def to_yuv420p(pixels: Tensor) -> Tensor:
    """Pixels [T, 3, H, W] in −1…1 -> uint8 [T, 3·H/2, W], contiguous, on the same device.

    BT.601, limited range. Each frame is its Y plane, then U and V at half the width and height: means of 2×2 pixels.
    """
    count, _, height, width = pixels.shape
    rgb = pixels.float().clamp(-1, 1)
    red, green, blue = rgb.unbind(1)
    luma = red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]
    chroma = avg_pool2d(torch.stack([(blue - luma) / BLUE_SCALE, (red - luma) / RED_SCALE], 1), 2)
    y, uv = luma * (219 / 2) + (16 + 219 / 2), chroma * (224 / 2) + 128
    planes = torch.cat([y.flatten(1), uv.flatten(1)], 1).round_().to(torch.uint8)
    return planes.view(count, 3 * height // 2, width)


def pixel_format_for(device: torch.device) -> PixelFormat:
    """The best format for a device. On a CPU, the encoders' own converters are faster than `to_yuv420p`."""
    return to_rgb24 if device.type == "cpu" else to_yuv420p


def to_host(frames: Tensor) -> Tensor:
    """The frames in host memory, complete. Copies from a device go through pinned memory, which torch reuses."""
    if frames.device.type == "cpu":
        return frames
    pinned = torch.empty(frames.shape, dtype=frames.dtype, pin_memory=True)
    return pinned.copy_(frames)  # blocking, so that freeing the frames needs no synchronisation later
