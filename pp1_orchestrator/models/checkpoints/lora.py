"""Low-rank adaptation: adds LoRA deltas to a checkpoint's matrices while they are read. Knows no names."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pp1_orchestrator.models.checkpoints.reader import Index, Shape, Weights


@dataclass(frozen=True, slots=True)
class LoraDelta:
    """A delta of a matrix [out, in]: scale · up [out, r] · down [r, in], the factors by their names in `weights`."""

    weights: Weights
    up: str
    down: str
    scale: float

    @property
    def shape(self) -> Shape:
        """[out, in], or all four dimensions when the factors do not fit each other."""
        shapes = self.weights.shapes()
        (out, rank), (other, into) = shapes[self.up], shapes[self.down]
        return (out, into) if rank == other else (out, rank, other, into)

    def read(self, index: Index, device: torch.device) -> Tensor:
        """The part of the delta at `index`, float32."""
        rows, columns = (*index, slice(None), slice(None))[:2]
        up = self.weights.read(self.up, device, torch.float32, rows)
        down = self.weights.read(self.down, device, torch.float32, columns, dim=1)
        return up.mul_(self.scale) @ down


class LoraMergedWeights(Weights):
    """`base` with deltas added to some of its matrices, in float32, while they are read."""

    def __init__(self, base: Weights, deltas: Mapping[str, LoraDelta]) -> None:
        super().__init__(base.path)
        self._base, self._deltas = base, deltas

    def shapes(self) -> Mapping[str, Shape]:
        return self._base.shapes()

    def _tensor(self, key: str, index: Index, device: torch.device, dtype: torch.dtype | None) -> Tensor:
        stored, delta = self._base._tensor(key, index, device, None), self._deltas.get(key)
        if delta is None:
            return stored
        merged = delta.read(index, device).add_(stored.to(device, torch.float32))
        return merged.to(dtype or stored.dtype)
