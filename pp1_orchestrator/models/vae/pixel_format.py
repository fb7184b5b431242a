"""From decoded pixels to the bytes that viewers' codecs take, in the host's memory.

Two forms of one picture: RGB, as a CPU's converters want it, and yuv420p planes, as encoders do: half as many bytes,
made where the pixels are. Shapes: T pictures of H by W, H and W even.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

LUMA = (0.299, 0.587, 0.114)
"""BT.601: how much of a picture's brightness is in red, green and blue."""
BLUE, RED = 1.772, 1.402
"""BT.601: what blue less brightness and red less brightness reach at most, for colours in 0…1, doubled."""


PixelFormat = Callable[[Tensor], Tensor]
"""Makes one form: [T, 3, H, W] in −1…1 -> uint8, T pictures, contiguous, where the pixels are."""


def to_rgb24(pixels: Tensor) -> Tensor:
    """[T, 3, H, W] in −1…1 -> uint8 [T, H, W, 3], contiguous, where the pixels are."""
    return pixels.add(1).mul(127.5).round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def to_yuv420p(pixels: Tensor) -> Tensor:
    """[T, 3, H, W] in −1…1 -> uint8 [T, 3·H/2, W], contiguous, where the pixels are.

    Each picture's Y, then U, then V of half its sides; BT.601, limited range. A colour is the mean of four pixels'.
    """
    count, _, height, width = pixels.shape
    colours = pixels.float().clamp(-1, 1)
    red, green, blue = colours.unbind(1)
    luma = red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]
    chroma = avg_pool2d(torch.stack([(blue - luma) / BLUE, (red - luma) / RED], 1), 2)
    y, uv = luma * (219 / 2) + (16 + 219 / 2), chroma * (224 / 2) + 128
    planes = torch.cat([y.flatten(1), uv.flatten(1)], 1).round_().to(torch.uint8)
    return planes.view(count, 3 * height // 2, width)


def pixel_format_for(device: torch.device) -> PixelFormat:
    """The form that is best made on this device. On a CPU the codecs' own converters are quicker than these lines."""
    return to_rgb24 if device.type == "cpu" else to_yuv420p


def to_host(pictures: Tensor) -> Tensor:
    """In the host's memory, complete. From a device through pinned memory, which torch keeps for the next ones."""
    if pictures.device.type == "cpu":
        return pictures
    here = torch.empty(pictures.shape, dtype=pictures.dtype, pin_memory=True)
    return here.copy_(pictures)  # waits: else whoever lets go of the pictures would have to ask the device first
