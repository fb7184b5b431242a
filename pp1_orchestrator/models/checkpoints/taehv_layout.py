"""Names and shapes of a TAEHV's tensors (`taew2_1.pth`, `lighttaew2_1.pth`), from its widths.

Knows which layers there are, in which order; what they compute is `models.vae.taehv`'s to know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from pp1_orchestrator.models.checkpoints.compare import check_shapes
from pp1_orchestrator.models.checkpoints.files import CPU, Shape, Weights

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
