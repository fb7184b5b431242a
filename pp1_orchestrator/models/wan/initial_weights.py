"""A generator as it is before any training, for running it without its checkpoint. Implements `weights.Source`.

Drawn as torch's layers and Wan2.1 are initialised, biases too, which keeps a signal's size; rank 0's models have
`models.checkpoints.made_up`, whose numbers follow another law.

Each tensor follows from the seed and its own name, and is made whole on its device before it is cut: ranks agree
whatever their number. A CPU and a GPU draw different ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


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
