"""Weights that no file holds: random numbers in given shapes, scaled so that what goes through stays in range."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from pp1_orchestrator.models.checkpoints.files import CPU, Shape, part_of

ONES = ("gamma", "norm.weight", "norm1.weight", "norm2.weight")


class RandomWeights:
    """Implements `files.Weights`. A tensor depends on the seed and its name alone, for each kind of device.

    factors: how much smaller or larger than usual tensors are drawn, by the end of their names.

    Gains of normalisations are 1 and biases 0; what is drawn is made where it is wanted. On the meta device there are
    shapes only.
    """

    def __init__(self, shapes: Mapping[str, Shape], seed: int, factors: Mapping[str, float] | None = None) -> None:
        self._shapes, self._seed, self._factors = shapes, seed, factors or {}

    @property
    def path(self) -> Path:
        return Path("random")

    def shapes(self) -> Mapping[str, Shape]:
        return self._shapes

    def read(
        self,
        key: str,
        device: torch.device = CPU,
        dtype: torch.dtype | None = None,
        rows: slice | None = None,
        dim: int = 0,
    ) -> Tensor:
        whole = self._make(key, device, dtype or torch.float32)
        return whole if rows is None else whole[part_of(rows, dim)].clone()

    def _make(self, key: str, device: torch.device, dtype: torch.dtype) -> Tensor:
        shape = self._shapes[key]
        made = torch.empty(shape, dtype=dtype, device=device)
        if device.type == "meta":
            return made
        if key.endswith(ONES):
            return made.fill_(1)
        if key.endswith("bias"):
            return made.zero_()
        generator = torch.Generator(device).manual_seed(zlib.crc32(f"{self._seed} {key}".encode()))
        inputs = math.prod(shape[1:]) if len(shape) > 1 else 1
        factor = next((factor for end, factor in self._factors.items() if key.endswith(end)), 1.0)
        return made.normal_(0.0, factor * inputs**-0.5, generator=generator)
