"""Tensors that a file stores in another form than a model takes: in 8 bits with a scale, or with other dimensions."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from pp1_orchestrator.models.checkpoints.reader import Index, Shape, Weights

SCALES = (".weight_scale", ".scale_weight")
"""What follows a layer's name in the name of its weight's scale: LightX2V's and ComfyUI's files."""
IGNORED = (".input_scale", ".scale_input", "scaled_fp8")
"""Ends of names that only matter to products in 8 bits, or mark the file."""


class ScaledWeights(Weights):
    """`base` with each matrix that has a scale multiplied by it, in float32, while it is read.

    A scale is one number, or one for each row, [out] or [out, 1].
    """

    def __init__(self, base: Weights, scales: Mapping[str, str]) -> None:
        super().__init__(base.path)
        self._base, self._scales = base, scales

    def shapes(self) -> Mapping[str, Shape]:
        left_out = set(self._scales.values())
        shapes = self._base.shapes()
        return {key: shape for key, shape in shapes.items() if key not in left_out and not key.endswith(IGNORED)}

    def _tensor(self, key: str, index: Index, device: torch.device, dtype: torch.dtype | None) -> Tensor:
        stored, name = self._base._tensor(key, index, device, None), self._scales.get(key)
        if name is None:
            return stored
        scale = self._base._tensor(name, (), device, None).float()
        if scale.numel() > 1:
            scale = scale.reshape(-1, 1)[index[:1]]
        return stored.float() * scale


def with_scales(weights: Weights) -> Weights:
    """The weights without their scales, which are applied. Raises ValueError for scales of another form."""
    shapes = weights.shapes()
    scales: dict[str, str] = {}
    for key in shapes:
        end = next((end for end in SCALES if key.endswith(end)), None)
        if end is not None:
            scales[key.removesuffix(end) + ".weight"] = key
    for key, name in scales.items():
        rows = shapes[key][0] if shapes.get(key) else None
        if rows is None or len(shapes[key]) != 2 or math.prod(shapes[name]) not in (1, rows):
            raise ValueError(f"{weights.path}: {name} {shapes[name]} is no scale of {key} {shapes.get(key, 'missing')}")
    if not scales and not any(key.endswith(IGNORED) for key in shapes):
        return weights
    return ScaledWeights(weights, scales)


class ReshapedWeights(Weights):
    """`base` with some tensors in other shapes, of as many elements."""

    def __init__(self, base: Weights, changed: Mapping[str, Shape]) -> None:
        super().__init__(base.path)
        self._base, self._changed = base, changed

    def shapes(self) -> Mapping[str, Shape]:
        return {key: self._changed.get(key, shape) for key, shape in self._base.shapes().items()}

    def _tensor(self, key: str, index: Index, device: torch.device, dtype: torch.dtype | None) -> Tensor:
        if key not in self._changed:
            return self._base._tensor(key, index, device, dtype)
        return self._base._tensor(key, (), device, dtype).reshape(self._changed[key])[index]
