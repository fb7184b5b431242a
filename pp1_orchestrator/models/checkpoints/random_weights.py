"""Weights that no file holds: random numbers in given shapes, scaled so that what goes through stays in range.

A generator as it is before any training, for running it without its checkpoint.

Drawn as torch's layers and Wan2.1 are initialised, biases too, which keeps a signal's size; rank 0's models have
`models.checkpoints.made_up`, whose numbers follow another law.

Each tensor follows from the seed and its own name, and is made whole on its device before it is cut: ranks agree
whatever their number. A CPU and a GPU draw different ones.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from pp1_orchestrator.models.checkpoints.reader import CPU, Shape, part_of

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


class InitialWeights:
    """shapes: every tensor that may be read."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], seed: int) -> None:
        self._shapes, self._seed = shapes, seed

    def read(
        self, key: str, device: torch.device, dtype: torch.dtype, rows: slice | None = None, dim: int = 0
    ) -> Tensor:
        whole = self._draw(key, device).to(dtype)
        return whole if rows is None else whole[(slice(None),) * dim + (rows,)].clone()

    def _draw(self, key: str, device: torch.device) -> Tensor:
        """float32."""
        out = torch.empty(self._shapes[key], device=device)
        if ".norm" in key:
            return out.fill_(float(key.endswith("weight")))
        rng = torch.Generator(device).manual_seed(_number(f"{self._seed}/{key}"))
        if key.endswith("modulation"):
            return out.normal_(0, out.shape[-1] ** -0.5, generator=rng)
        inputs = self._shapes[key.removesuffix("bias") + "weight" if key.endswith("bias") else key][1:]
        bound = torch.Size(inputs).numel() ** -0.5
        return out.uniform_(-bound, bound, generator=rng)


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])
