"""What a compiler leaves of the operations between products: passes over memory that do several of them at once.

Operations that follow the same products form a pass. It reads each tensor from outside once, and writes those that a
product or a later pass needs; what is only used inside is never in memory. Products, convolutions, attention and this
package's own kernels are not touched. Knows nothing of what a particular compiler can or can't fuse.
"""

import weakref
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pp1_orchestrator.planning.memory_tracker import storage_key

OPAQUE = ("conv", "attention", "mm", "linear", "pp1.")
"""Parts of the names of operators that a compiler calls as they are."""


@dataclass(slots=True)
class _Value:
    """A tensor's memory. level: products on the way to it. nbytes: of the whole. fused: made inside a pass."""

    level: int
    nbytes: int
    fused: bool
    readers: set[int] = field(default_factory=set[int])
    stored: bool = False


class FusedPasses(TorchDispatchMode):
    """`passes()`: the bytes that each pass over memory reads and writes."""

    def __init__(self) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self._current: dict[int, _Value] = {}
        self._values: list[_Value] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        operands = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        if operands:
            inputs = [self._value(tensor) for tensor in operands]
            results = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
            mutated = operands[:1] if func._schema.is_mutable else []
            self._follow(str(func), inputs, operands, results + mutated)
        return out

    def passes(self) -> list[int]:
        """Bytes of each pass, in order."""
        nbytes: dict[int, int] = defaultdict(int)
        for value in self._values:
            inner = {value.level} if value.fused else set[int]()
            for level in value.readers - inner:
                nbytes[level] += value.nbytes
            if value.fused and (value.stored or value.readers - inner):
                nbytes[value.level] += value.nbytes
        return [nbytes[level] for level in sorted(nbytes)]

    def _value(self, tensor: Tensor) -> _Value:
        key = storage_key(tensor.untyped_storage())
        if key not in self._current:
            self._set(tensor, 0, fused=False)
        return self._current[key]

    def _set(self, tensor: Tensor, level: int, *, fused: bool) -> None:
        storage = tensor.untyped_storage()
        key, value = storage_key(storage), _Value(level, storage.nbytes(), fused)
        if key not in self._current:
            weakref.finalize(storage, self._current.pop, key, None)
        self._values.append(value)
        self._current[key] = value

    def _follow(self, name: str, inputs: list[_Value], operands: list[Tensor], changed: list[Tensor]) -> None:
        opaque = any(part in name for part in OPAQUE)
        level = max(value.level for value in inputs) + opaque
        owned = {storage_key(t.untyped_storage()) for t in operands}
        made = [t for t in changed if storage_key(t.untyped_storage()) not in owned]
        made += changed[-1:] if len(changed) > len(made) and "_." in name else []
        for value in inputs:
            if opaque:
                value.stored = True
            elif made:  # else it is a view
                value.readers.add(level)
        for tensor in made:
            self._set(tensor, level, fused=not opaque)
