"""Pictures that carry their own number, so that order and loss can be read back from what a viewer decodes."""

from __future__ import annotations

import numpy as np

BITS = 12
SIZE = 128
LEVEL_ON, LEVEL_OFF = 220, 30


def numbered(number: int, size: int = SIZE, background: tuple[int, int, int] = (40, 40, 160)) -> np.ndarray:
    """A picture with `number` as a row of bright and dark bars in its upper half."""
    picture = np.full((size, size, 3), background, dtype=np.uint8)
    width = size // BITS
    for bit in range(BITS):
        level = LEVEL_ON if number >> bit & 1 else LEVEL_OFF
        picture[: size // 2, bit * width : (bit + 1) * width] = level
    return picture


def read_number(rgb: np.ndarray) -> int:
    height, width = rgb.shape[0] // 4, rgb.shape[1] // BITS
    return sum(1 << bit for bit in range(BITS) if rgb[height, bit * width + width // 2].mean() > 125)
