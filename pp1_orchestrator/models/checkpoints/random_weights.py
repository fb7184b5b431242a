"""Random weights in given shapes, for running a model without its checkpoint.

A tensor depends only on the seed, its name and the type of device. It is drawn whole, so any number of ranks agrees.
"""

import hashlib
import math
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from pp1_orchestrator.models.checkpoints.reader import Index, Shape, Weights

NORM_GAINS = ("gamma", "norm.weight", "norm1.weight", "norm2.weight")


class RandomWeights(Weights):
    """For VAE and text encoder: normal with a variance of 1 / inputs, in the wanted dtype; norm gains 1, biases 0.

    `factors` multiply the deviation of tensors by the end of their names. On a meta device there are only shapes.
    """

    def __init__(self, shapes: Mapping[str, Shape], seed: int, factors: Mapping[str, float] | None = None) -> None:
        super().__init__(Path("random"))
        self._shapes, self._seed, self._factors = shapes, seed, factors or {}

    def shapes(self) -> Mapping[str, Shape]:
        return self._shapes

    def _tensor(self, key: str, index: Index, device: torch.device, dtype: torch.dtype | None) -> Tensor:
        return self._draw(key, device, dtype or torch.float32)[index]

    def _draw(self, key: str, device: torch.device, dtype: torch.dtype) -> Tensor:
        shape = self._shapes[key]
        out = torch.empty(shape, dtype=dtype, device=device)
        if device.type == "meta":
            return out
        if key.endswith(NORM_GAINS):
            return out.fill_(1)
        if key.endswith("bias"):
            return out.zero_()
        rng = torch.Generator(device).manual_seed(zlib.crc32(f"{self._seed} {key}".encode()))
        inputs = math.prod(shape[1:]) if len(shape) > 1 else 1
        factor = next((factor for end, factor in self._factors.items() if key.endswith(end)), 1.0)
        return out.normal_(0.0, factor * inputs**-0.5, generator=rng)


class InitialWeights(RandomWeights):
    """For the generator: torch's and Wan2.1's initialisation, biases included, in float32. Keeps a signal's size."""

    def _draw(self, key: str, device: torch.device, dtype: torch.dtype) -> Tensor:
        out = torch.empty(self._shapes[key], device=device)
        if ".norm" in key:
            return out.fill_(float(key.endswith("weight")))
        digest = hashlib.sha256(f"{self._seed}/{key}".encode()).digest()
        rng = torch.Generator(device).manual_seed(int.from_bytes(digest[:7]))
        if key.endswith("modulation"):
            return out.normal_(0, out.shape[-1] ** -0.5, generator=rng)
        inputs = self._shapes[key.removesuffix("bias") + "weight" if key.endswith("bias") else key][1:]
        bound = torch.Size(inputs).numel() ** -0.5
        return out.uniform_(-bound, bound, generator=rng)
