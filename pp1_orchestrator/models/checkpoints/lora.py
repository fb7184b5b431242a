"""Weights seen in another way, still read one by one: under other names, or with low-rank changes added.

Implement `Weights`. Know nothing of which names mean what.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pp1_orchestrator.models.checkpoints.reader import CPU, Shape, Weights


class Renamed:
    """names: which tensor of `weights` each of these names stands for; the others are left out."""

    def __init__(self, weights: Weights, names: Mapping[str, str]) -> None:
        self.path = weights.path
        self._weights, self._names = weights, names

    def shapes(self) -> Mapping[str, Shape]:
        shapes = self._weights.shapes()
        return {name: shapes[key] for name, key in self._names.items()}

    def read(
        self,
        key: str,
        device: torch.device = CPU,
        dtype: torch.dtype | None = None,
        rows: slice | None = None,
        dim: int = 0,
    ) -> Tensor:
        return self._weights.read(self._names[key], device, dtype, rows, dim)


@dataclass(frozen=True, slots=True)
class LowRank:
    """A change of a matrix [out, in]: scale · up [out, r] · down [r, in], the factors by their names in `weights`."""

    weights: Weights
    up: str
    down: str
    scale: float

    @property
    def shape(self) -> Shape:
        """Of the change; a factor that does not fit the other shows in it."""
        shapes = self.weights.shapes()
        (out, rank), (other, into) = shapes[self.up], shapes[self.down]
        return (out, into) if rank == other else (out, rank, other, into)

    def part(self, device: torch.device, rows: slice | None, dim: int) -> Tensor:
        """float32, the part of the change that belongs to these rows of dimension `dim`."""
        cut: list[slice | None] = [None, None]
        cut[dim] = rows
        up = self.weights.read(self.up, device, torch.float32, cut[0])
        down = self.weights.read(self.down, device, torch.float32, cut[1], dim=1)
        return up.mul_(self.scale) @ down


class LoraMergedWeights:
    """`base` with a change added to some of its matrices, in float32, as they are read."""

    def __init__(self, base: Weights, changes: Mapping[str, LowRank]) -> None:
        self.path = base.path
        self._base, self._changes = base, changes

    def shapes(self) -> Mapping[str, Shape]:
        return self._base.shapes()

    def read(
        self,
        key: str,
        device: torch.device = CPU,
        dtype: torch.dtype | None = None,
        rows: slice | None = None,
        dim: int = 0,
    ) -> Tensor:
        change = self._changes.get(key)
        if change is None:
            return self._base.read(key, device, dtype, rows, dim)
        stored = self._base.read(key, device, None, rows, dim)
        return stored.float().add_(change.part(device, rows, dim)).to(dtype or stored.dtype)
